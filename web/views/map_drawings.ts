// The layers of a net over a set of pictures, as SVG and CSV.

import type { ActivationMap } from "../generated/payloads";
import { csv } from "../parts/export";
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
