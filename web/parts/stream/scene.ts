// A drawing as a list of marks, that is painted on a canvas or written as SVG: the two are one picture.

import { escape } from "../export";
import type { Palette } from "../palette.svelte";

export type Mark =
  | { kind: "rect"; x: number; y: number; width: number; height: number; fill: string; stroke?: string; dash?: string }
  | { kind: "path"; points: [number, number][]; stroke: string; width: number; dash?: string }
  | { kind: "dot"; x: number; y: number; r: number; square: boolean; fill: string; stroke: string }
  | Text;
interface Text {
  kind: "text";
  x: number;
  y: number; // the middle of the line
  text: string;
  fill: string;
  anchor?: "start" | "middle" | "end";
  weight?: number;
  mono?: boolean;
  down?: boolean; // written downwards
}

const SIZE = 12;

export function paint(context: CanvasRenderingContext2D, palette: Palette, marks: Mark[]): void {
  context.textBaseline = "middle";
  for (const mark of marks) {
    const dash = "dash" in mark && mark.dash ? mark.dash.split(" ").map(Number) : [];
    context.setLineDash(dash);
    if (mark.kind === "rect") {
      context.fillStyle = mark.fill;
      context.fillRect(mark.x, mark.y, mark.width, mark.height);
      if (mark.stroke) {
        context.strokeStyle = mark.stroke;
        context.lineWidth = 1;
        context.strokeRect(mark.x + 0.5, mark.y + 0.5, mark.width - 1, Math.max(0, mark.height - 1));
      }
    } else if (mark.kind === "path") {
      context.strokeStyle = mark.stroke;
      context.lineWidth = mark.width;
      context.beginPath();
      mark.points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
      context.stroke();
    } else if (mark.kind === "dot") {
      context.fillStyle = mark.fill;
      context.strokeStyle = mark.stroke;
      context.lineWidth = 1.5;
      context.beginPath();
      if (mark.square) context.rect(mark.x - mark.r, mark.y - mark.r, 2 * mark.r, 2 * mark.r);
      else context.arc(mark.x, mark.y, mark.r, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    } else {
      context.font = `${mark.weight ?? 400} ${SIZE}px ${mark.mono ? palette.mono : palette.sans}`;
      context.fillStyle = mark.fill;
      context.textAlign = mark.anchor === "middle" ? "center" : (mark.anchor ?? "start");
      context.save();
      context.translate(mark.x, mark.y);
      if (mark.down) context.rotate(Math.PI / 2);
      context.fillText(mark.text, 0, 0);
      context.restore();
    }
  }
  context.setLineDash([]);
  context.textAlign = "start";
}

export function write(marks: Mark[], fonts: { sans: string; mono: string }): string {
  return marks.map((mark) => one(mark, fonts)).join("");
}

function one(mark: Mark, fonts: { sans: string; mono: string }): string {
  const dash = "dash" in mark && mark.dash ? ` stroke-dasharray="${mark.dash}"` : "";
  if (mark.kind === "rect") {
    return `<rect x="${mark.x}" y="${mark.y}" width="${mark.width}" height="${mark.height}" fill="${mark.fill}"${mark.stroke ? ` stroke="${mark.stroke}"` : ""}${dash}/>`;
  }
  if (mark.kind === "path") {
    return `<polyline points="${mark.points.map((point) => point.join(",")).join(" ")}" fill="none" stroke="${mark.stroke}" stroke-width="${mark.width}"${dash}/>`;
  }
  if (mark.kind === "dot") {
    const { x, y, r, fill, stroke } = mark;
    const paints = `fill="${fill}" stroke="${stroke}" stroke-width="1.5"`;
    return mark.square ? `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}" ${paints}/>` : `<circle cx="${x}" cy="${y}" r="${r}" ${paints}/>`;
  }
  const turn = mark.down ? ` transform="rotate(90 ${mark.x} ${mark.y})"` : "";
  return `<text x="${mark.x}" y="${mark.y}" dy="0.35em" font-family="${mark.mono ? fonts.mono : fonts.sans}" font-size="${SIZE}" font-weight="${mark.weight ?? 400}" text-anchor="${mark.anchor ?? "start"}" fill="${mark.fill}" xml:space="preserve"${turn}>${escape(mark.text)}</text>`;
}
