// The network as SVG and as CSV, for files.

import type { Frame, Setting } from "../../generated/payloads";
import { csv, escape } from "../export";
import { readPalette } from "../palette.svelte";
import { roundUp } from "./axis";
import { drawDiagram } from "./drawDiagram";
import { drawSurface, groundOf, spanOf } from "./drawSurface";
import { BIAS, curve, edgesInto, layOut } from "./geometry";
import { unitName } from "./naming";
import { edgeValue, largest } from "./values";

const MOST = 3000; // edges that a drawing still holds as curves

/** The diagram with the surface beside it. Edges are curves; the units' pictures are images. */
export function networkSvg(setting: Setting, frame: Frame): string {
  const palette = readPalette();
  const [width, height] = [640, 440];
  const { layers } = setting.config;
  const layout = layOut(layers, width, height, setting.image_side);
  const widest = roundUp(Math.max(1, largest(frame)));
  const edges = layers.slice(1).flatMap((_, i) => edgesInto(layers, i + 1));
  const drawn = edges.length > MOST ? [...edges].sort((a, b) => Math.abs(edgeValue(frame, b)) - Math.abs(edgeValue(frame, a))).slice(0, MOST) : edges;
  let body = "";
  for (const edge of drawn) {
    const { x0, y0, x1, y1, reach } = curve(layout, edge);
    const value = edgeValue(frame, edge);
    body +=
      `<path d="M${x0.toFixed(1)} ${y0.toFixed(1)}C${(x0 + reach).toFixed(1)} ${y0.toFixed(1)} ${(x1 - reach).toFixed(1)} ${y1.toFixed(1)} ${x1.toFixed(1)} ${y1.toFixed(1)}" ` +
      `fill="none" stroke="${value < 0 ? palette.negative : palette.positive}" stroke-width="${(0.7 + 7 * Math.min(1, Math.abs(value) / widest)).toFixed(2)}"` +
      `${value < 0 ? ' stroke-dasharray="6 3.5"' : ""} stroke-opacity="0.82"><title>${edge.place} ${value}</title></path>`;
  }
  for (const { x, y } of layout.biases) {
    body += `<circle cx="${x}" cy="${y}" r="${BIAS / 2}" fill="${palette.paper}" stroke="${palette.strong}"/><text x="${x}" y="${y + 4}" font-size="12" text-anchor="middle" fill="${palette.soft}">1</text>`;
  }
  const image = setting.image_side && frame.sample ? setting.points.data.subarray(frame.sample.index * setting.points.shape[1]!, (frame.sample.index + 1) * setting.points.shape[1]!) : null;
  body += picture(0, 0, width, height, (context) =>
    drawDiagram(context, palette, { setting, frame, layout: { ...layout, biases: [] }, edges: [], widest, scale: "layer", values: "none", image, active: null, path: null, pinned: null, cursor: null }),
  );
  let full = width;
  if (setting.dimensions > 0) {
    const side = 400;
    const ground = groundOf(setting, side + 10, side, setting.dimensions === 2 ? undefined : spanOf(setting));
    body += picture(width + 20, 20, side + 10, side, (context) =>
      drawSurface(context, palette, { setting, frame, ground, discrete: false, unit: null, sample: null, cursor: null, points: true }),
    );
    full = width + side + 50;
  }
  const title = `${layers.join("-")}, step ${frame.step}, loss ${Number(frame.losses.train.toPrecision(4))}`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${full}" height="${height + 40}" viewBox="0 -40 ${full} ${height + 40}" font-family="IBM Plex Sans, system-ui, sans-serif">` +
    `<title>${escape(title)}</title><rect y="-40" width="100%" height="100%" fill="${palette.paper}"/>` +
    `<text x="8" y="-16" font-size="16" font-weight="600" fill="${palette.ink}">${escape(title)}</text>${body}</svg>`
  );
}

function picture(x: number, y: number, width: number, height: number, draw: (context: CanvasRenderingContext2D) => void): string {
  const canvas = document.createElement("canvas");
  canvas.width = width * 2;
  canvas.height = height * 2;
  const context = canvas.getContext("2d")!;
  context.scale(2, 2);
  draw(context);
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" href="${canvas.toDataURL()}"/>`;
}

/** Every weight and bias, with every digit. */
export function networkCsv(setting: Setting, frame: Frame): string {
  const { layers } = setting.config;
  const rows: (string | number)[][] = [["place", "layer", "from", "to", "value"]];
  layers.slice(1).forEach((_, i) => {
    for (const edge of edgesInto(layers, i + 1)) {
      rows.push([edge.place, edge.layer, edge.from < 0 ? "bias" : unitName(edge.layer - 1, edge.from, setting), unitName(edge.layer, edge.to, setting), edgeValue(frame, edge)]);
    }
  });
  return csv(rows);
}
