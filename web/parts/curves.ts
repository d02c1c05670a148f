// Curves over a common axis: where everything stands, for the page and for a file alike.

import { scaleLinear, type ScaleLinear } from "d3-scale";
import { area, line } from "d3-shape";
import { escape } from "./export";
import { readPalette } from "./palette.svelte";

export interface Curve {
  name: string;
  values: ArrayLike<number>; // NaN: nothing there
  colour: string; // a custom property of the theme: "--accent"
  dash?: string;
  width?: number;
  low?: ArrayLike<number>; // a band around it
  high?: ArrayLike<number>;
}
export interface Level {
  name: string;
  value: number;
  dash: string;
}
export interface Mark {
  x: number;
  label: string;
}
export interface Drawing {
  x: number[]; // where each point stands, rising
  curves: Curve[];
  levels?: Level[];
  marks?: Mark[];
  domain: [number, number];
  ticks: number[];
  xTicks: { at: number; label: string }[];
  xTitle: string;
}
interface Label {
  name: string;
  y: number;
  colour: string;
}
export interface Geometry {
  x: ScaleLinear<number, number>;
  y: ScaleLinear<number, number>;
  left: number;
  right: number;
  top: number;
  bottom: number;
  paths: { d: string; colour: string; dash: string; width: number }[];
  bands: { d: string; colour: string }[];
  labels: Label[];
}

const GAP = 14; // between two names beside the curves
const TITLE = 40; // below the axis

/** Where it all stands in a picture of this size; without room for names they are left to a legend. */
export function place(drawing: Drawing, width: number, height: number, names: boolean): Geometry {
  const [left, right, top, bottom] = [40, width - (names ? 132 : 12), drawing.marks?.length ? 24 : 10, height - TITLE];
  const x = scaleLinear([drawing.x[0]!, drawing.x.at(-1)!], [left + 6, right - 6]);
  const y = scaleLinear(drawing.domain, [bottom, top]).clamp(true);
  const indices = drawing.x.map((_, i) => i);
  const path = ({ values }: Curve) =>
    line<number>((i) => x(drawing.x[i]!), (i) => y(values[i]!)).defined((i) => Number.isFinite(values[i]))(indices) ?? "";
  const band = ({ low, high }: Curve) =>
    area<number>((i) => x(drawing.x[i]!), (i) => y(low![i]!), (i) => y(high![i]!)).defined((i) => Number.isFinite(low![i]))(indices) ?? "";
  const named = drawing.curves.flatMap((curve): Label[] => {
    const last = indices.findLast((i) => Number.isFinite(curve.values[i]));
    return last === undefined ? [] : [{ name: curve.name, y: y(curve.values[last]!), colour: curve.colour }];
  });
  for (const level of drawing.levels ?? []) named.push({ name: level.name, y: y(level.value), colour: "--ink-soft" });
  return {
    x, y, left, right, top, bottom, labels: names ? apart(named, top + 4, bottom) : [],
    paths: drawing.curves.map((curve) => ({ d: path(curve), colour: curve.colour, dash: curve.dash ?? "", width: curve.width ?? 1.5 })),
    bands: drawing.curves.filter((curve) => curve.low).map((curve) => ({ d: band(curve), colour: curve.colour })),
  };
}

/** The names moved so that none covers another, in their order from the top. */
function apart(labels: Label[], top: number, bottom: number): Label[] {
  const sorted = labels.toSorted((a, b) => a.y - b.y);
  sorted.forEach((label, i) => (label.y = Math.max(label.y, i === 0 ? top : sorted[i - 1]!.y + GAP)));
  sorted.toReversed().forEach((label, i, all) => (label.y = Math.min(label.y, i === 0 ? bottom : all[i - 1]!.y - GAP)));
  return sorted;
}

/** Several drawings below each other as one SVG file. */
export function curvesSvg(title: string, parts: { drawing: Drawing; height: number; caption: string }[]): string {
  const palette = readPalette();
  const host = getComputedStyle(document.querySelector(".llmw") ?? document.body);
  const of = (name: string) => host.getPropertyValue(name).trim();
  const say = (x: number, y: number, text: string, fill: string, anchor = "start", font = palette.mono, size = 12) =>
    `<text x="${x}" y="${y}" font-family="${escape(font)}" font-size="${size}" fill="${fill}" text-anchor="${anchor}">${escape(text)}</text>`;
  const wide = 960;
  let at = 56;
  let body = "";
  for (const { drawing, height, caption } of parts) {
    const g = place(drawing, wide - 40, height, true);
    let inner = say(0, -6, caption, palette.ink, "start", palette.sans, 13);
    for (const tick of drawing.ticks) {
      inner += `<line x1="${g.left}" x2="${g.right}" y1="${g.y(tick)}" y2="${g.y(tick)}" stroke="${palette.line}"/>`;
      inner += say(g.left - 6, g.y(tick) + 4, String(tick), palette.soft, "end");
    }
    for (const tick of drawing.xTicks) inner += say(g.x(tick.at), g.bottom + 16, tick.label, palette.soft, "middle");
    inner += say((g.left + g.right) / 2, g.bottom + 34, drawing.xTitle, palette.soft, "middle", palette.sans);
    for (const mark of drawing.marks ?? []) {
      inner += `<line x1="${g.x(mark.x)}" x2="${g.x(mark.x)}" y1="${g.top - 6}" y2="${g.bottom}" stroke="${palette.strong}" stroke-dasharray="2 3"/>`;
      inner += say(g.x(mark.x), g.top - 10, mark.label, palette.soft, "middle", palette.sans);
    }
    for (const level of drawing.levels ?? []) {
      inner += `<line x1="${g.left}" x2="${g.right}" y1="${g.y(level.value)}" y2="${g.y(level.value)}" stroke="${palette.soft}" stroke-dasharray="${level.dash}"/>`;
    }
    for (const band of g.bands) inner += `<path d="${band.d}" fill="${of(band.colour)}" opacity="0.16"/>`;
    for (const path of g.paths) {
      inner += `<path d="${path.d}" fill="none" stroke="${of(path.colour)}" stroke-width="${path.width}" stroke-dasharray="${path.dash}"/>`;
    }
    for (const label of g.labels) inner += say(g.right + 8, label.y + 4, label.name, of(label.colour), "start", palette.sans);
    body += `<g transform="translate(20 ${at + 16})">${inner}</g>`;
    at += height + 28;
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${wide}" height="${at}" viewBox="0 0 ${wide} ${at}"><title>${escape(title)}</title>` +
    `<rect width="100%" height="100%" fill="${palette.paper}"/>${say(20, 30, title, palette.ink, "start", palette.sans, 16)}${body}</svg>`
  );
}
