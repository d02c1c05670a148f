// The effects of ablations as SVG and as CSV, for files.

import type { Ablation } from "../generated/payloads";
import { Layout, METRICS, PARTS, said, shade } from "../parts/ablation/effects";
import { csv } from "../parts/export";
import { signed } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { visible } from "../parts/tokens";
import { number, page, text } from "./drawings";

export function ablationSvg(payload: Ablation): string {
  const palette = readPalette();
  const layout = new Layout(payload);
  const size = payload.parts === "neuron" ? 18 : 34;
  const high = layout.counted ? size : 180;
  const most = layout.most;
  let body = "";
  for (let index = 0; index < layout.count; index++) {
    const { row, column } = layout.cell(index);
    const effect = layout.effect(index);
    const [x, y] = [60 + column * size, 70 + row * high];
    if (Number.isNaN(effect)) continue;
    if (layout.counted) {
      const { fill, ink } = shade(palette, effect / most);
      body += `<rect x="${x}" y="${y}" width="${size - 1}" height="${size - 1}" fill="${fill}"><title>${said(layout.name(index))} ${signed(effect)}</title></rect>`;
      if (size > 20 && Math.abs(effect) >= 0.08 * most) body += text(x + size / 2, y + size / 2 + 4, effect.toFixed(1).replace("-", "−"), ink, 'text-anchor="middle" style="font-size:10px"');
    } else {
      const bar = (effect / most) * (high / 2 - 4);
      body += `<rect x="${x}" y="${y + high / 2 - Math.max(0, bar)}" width="${size - 4}" height="${Math.max(1, Math.abs(bar))}" fill="${effect < 0 ? palette.negative : palette.positive}"/>`;
    }
  }
  const columns = payload.parts === "neuron" ? [] : Array.from({ length: layout.columns }, (_, i) => i);
  for (const column of columns) body += text(60 + column * size + size / 2, 62, String(column), palette.soft, 'text-anchor="middle"');
  if (payload.parts === "head") for (let row = 0; row < layout.rows; row++) body += text(52, 70 + row * size + size / 2 + 4, String(row), palette.soft, 'text-anchor="end"');
  const bottom = 70 + layout.rows * high;
  body += text(20, bottom + 24, `In its place: ${payload.stood.said}. As it is: ${signed(payload.base)} ${payload.unit}.`, palette.soft);
  body += text(20, bottom + 44, payload.tokens.map(visible).join(" "), palette.soft);
  const title = `${payload.model.title}: change of the ${METRICS[payload.metric].title} without each of its ${PARTS[payload.parts]}`;
  return page(Math.max(720, 90 + layout.columns * size), bottom + 64, title, body, palette);
}

export function ablationCsv(payload: Ablation): string {
  const layout = new Layout(payload);
  const rows: (string | number)[][] = [["part", "without", "effect"]];
  for (let index = 0; index < layout.count; index++) {
    const value = payload.values.data[index]!;
    rows.push([layout.name(index), number(value), number(layout.effect(index))]);
  }
  return csv(rows);
}
