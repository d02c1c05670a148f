// The layers and the units over a set of pictures, as SVG and CSV.

import type { ActivationHeatmap, ActivationMap } from "../generated/payloads";
import { csv } from "../parts/export";
import { flagsOf, runs, valueAt, type Shades } from "../parts/inside/heatmap";
import { placed } from "../parts/inside/map";
import { hueOf, markOf } from "../parts/inside/marks";
import { readPalette, type Palette } from "../parts/palette.svelte";
import { number, page, text } from "./drawings";

/** Every layer's plane in small, and one in large, with the classes. */
export function mapSvg(payload: ActivationMap, layer: number): string {
  const palette = readPalette();
  const [small, large, across] = [150, 560, 8];
  let body = "";
  for (let i = 0; i < payload.done; i++) {
    const [x, y] = [20 + (i % across) * (small + 10), 56 + Math.floor(i / across) * (small + 30)];
    body += plane(payload, i, x, y, small, 1.8, palette) + text(x, y + small + 16, payload.layers[i]!, palette.soft);
  }
  const below = 70 + Math.ceil(payload.done / across) * (small + 30);
  body += text(20, below, payload.layers[layer]!, palette.ink) + plane(payload, layer, 20, below + 10, large, 5, palette);
  payload.net.classes.slice(0, 40).forEach((name, i) => {
    body += `<path transform="translate(${large + 60} ${below + 30 + i * 20})" d="${markOf(i, 5)}" fill="${palette.categories[hueOf(i)]}"/>`;
    body += text(large + 76, below + 34 + i * 20, name, palette.ink);
  });
  const title = `${payload.net.title}: ${payload.n} pictures of ${payload.set} by layer, ${payload.drawing.toUpperCase()}`;
  return page(40 + across * (small + 10), below + large + 40, title, body, palette);
}

function plane(payload: ActivationMap, layer: number, left: number, top: number, size: number, r: number, palette: Palette): string {
  const points = placed(payload, layer);
  let body = `<rect x="${left}" y="${top}" width="${size}" height="${size}" fill="none" stroke="${palette.line}"/>`;
  payload.labels.data.forEach((label, i) => {
    const [x, y] = [0, 1].map((axis) => 3 * r + points[2 * i + axis]! * (size - 6 * r)) as [number, number];
    const wrong = payload.answers.data[i] !== label ? ` stroke="${palette.ink}"` : "";
    body += `<path transform="translate(${(left + x).toFixed(1)} ${(top + y).toFixed(1)})" d="${markOf(label, r)}" fill="${palette.categories[hueOf(label)]}" fill-opacity="0.85"${wrong}/>`;
  });
  return body;
}

export function mapCsv(payload: ActivationMap): string {
  const rows: (string | number)[][] = [["layer", "picture", "class", "answer", "cluster", "x", "y"]];
  for (let layer = 0; layer < payload.done; layer++) {
    for (let i = 0; i < payload.n; i++) {
      const at = layer * payload.n + i;
      rows.push([
        payload.layers[layer]!, `${payload.set}:${i}`, payload.net.classes[payload.labels.data[i]!]!, payload.net.classes[payload.answers.data[i]!]!,
        payload.clusters.data[at]! + 1, number(payload.flat.data[2 * at]!), number(payload.flat.data[2 * at + 1]!),
      ]);
    }
  }
  return csv(rows);
}

export function heatmapSvg(payload: ActivationHeatmap, shades: Shades): string {
  const palette = readPalette();
  const [wide, high, left, top] = [7, 14, 60, 76];
  let body = "";
  for (const { label, from, to } of runs(payload)) {
    body += text(left + from * wide, top - 12, payload.net.classes[label]!.slice(0, Math.max(1, Math.floor(((to - from) * wide) / 7.3))), palette.ink);
    body += `<rect x="${left + from * wide}" y="${top - 6}" width="${(to - from) * wide - 1}" height="4" fill="${palette.categories[hueOf(label)]}"/>`;
  }
  payload.unit_order.data.forEach((unit, row) => {
    body += text(left - 8, top + row * high + 11, `${unit}`, flagsOf(payload, unit).length ? palette.wrong : palette.soft, 'text-anchor="end"');
    payload.picture_order.data.forEach((picture, column) => {
      body += `<rect x="${left + column * wide}" y="${top + row * high}" width="${wide}" height="${high - 1}" fill="${shades.fill(palette, unit, picture)}"/>`;
    });
  });
  const title = `${payload.net.title}: ${payload.units.length} units of ${payload.layer} by ${payload.n} pictures of ${payload.set}, to ${shades.byUnit ? "each unit's largest" : number(shades.most)}`;
  return page(Math.max(700, left + payload.n * wide + 20), top + payload.units.length * high + 24, title, body, palette);
}

export function heatmapCsv(payload: ActivationHeatmap): string {
  const rows: (string | number)[][] = [["unit", "flags", ...Array.from(payload.picture_order.data, (picture) => `${payload.set}:${picture}`)]];
  rows.push(["class", "", ...Array.from(payload.picture_order.data, (picture) => payload.net.classes[payload.labels.data[picture]!]!)]);
  for (const unit of payload.unit_order.data) {
    rows.push([unit, payload.units[unit]!.flags.join("; "), ...Array.from(payload.picture_order.data, (picture) => number(valueAt(payload, unit, picture)))]);
  }
  return csv(rows);
}
