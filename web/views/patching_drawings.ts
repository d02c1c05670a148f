// Patching pictures as files.

import type { Patching, Paths } from "../generated/payloads";
import { csv } from "../parts/export";
import { readPalette } from "../parts/palette.svelte";
import { counted, indexOf, moved, normalized, type Layout } from "../parts/patching/layout";
import { css, inCell, inkOver, mixed, shade, type Scale } from "../parts/patching/scale";
import { visible } from "../parts/tokens";
import { page, text } from "./drawings";

export function patchingSvg(payload: Patching, layout: Layout, scale: Scale, told: (value: number) => number, said: string): string {
  const palette = readPalette();
  const tokens = layout.across === "position";
  const [wide, high, left, top] = [tokens ? 66 : layout.across === "neuron" ? 16 : 34, 20, 52, tokens ? 84 : 60];
  let body = "";
  body += text(20, 40, said, palette.soft);
  for (let column = 0; column < layout.columns; column++) {
    const name = layout.columnName(column);
    const other = tokens && payload.differs.includes(column);
    const x = left + column * wide;
    body += text(tokens ? x + 2 : x + wide / 2, other ? top - 22 : top - 8, tokens ? name.slice(0, 9) : name, other ? palette.positive : palette.ink, tokens ? "" : 'text-anchor="middle"');
    if (other) body += text(x + 2, top - 8, visible(payload.corrupted[column]!).slice(0, 9), palette.negative);
  }
  for (let row = 0; row < layout.rows; row++) {
    body += text(left - 7, top + row * high + 14, layout.rowName(row), palette.soft, 'text-anchor="end"');
    for (let column = 0; column < layout.columns; column++) {
      const spot = layout.spot({ row, column });
      const value = spot ? payload.values.data[indexOf(payload, spot)]! : NaN;
      if (Number.isNaN(value)) continue;
      const distance = moved(payload, value);
      const colour = mixed(palette, shade(distance, scale));
      const x = left + column * wide;
      const y = top + row * high;
      body += `<rect x="${x}" y="${y}" width="${wide - 1}" height="${high - 1}" fill="${css(colour)}"/>`;
      const still = Math.abs(distance) < 0.005 * (payload.comparable ? 1 : scale.most);
      const number = inCell(told(value), wide, still);
      if (number) body += text(x + (wide - 1) / 2, y + 14, number, inkOver(colour), 'text-anchor="middle"');
    }
  }
  const title = `${payload.model.title}: patching ${payload.kind}, ${payload.axes.join(" by ")}`;
  return page(Math.max(620, left + layout.columns * wide + 20), top + layout.rows * high + 24, title, body, palette);
}

export function patchingCsv(payload: Patching): string {
  const [layers, units, positions] = payload.values.shape as [number, number, number];
  const what = counted(payload);
  const position = payload.axes.includes("position");
  const rows: (string | number)[][] = [["layer", ...(what ? [what] : []), ...(position ? ["position", "clean_token", "corrupted_token"] : []), payload.metric.replaceAll(" ", "_"), "normalized"]];
  for (let layer = 0; layer < layers; layer++) {
    for (let unit = 0; unit < units; unit++) {
      for (let at = 0; at < positions; at++) {
        const value = payload.values.data[(layer * units + unit) * positions + at]!;
        const name = what === "node" && unit === payload.model.n_heads ? "mlp" : unit;
        rows.push([
          payload.layers[layer]!, ...(what ? [name] : []), ...(position ? [at, payload.clean[at]!.text, payload.corrupted[at]!.text] : []),
          Number.isNaN(value) ? "" : value, Number.isNaN(value) || !payload.comparable ? "" : normalized(payload, value),
        ]);
      }
    }
  }
  return csv(rows);
}

export function pathsCsv(payload: Paths): string {
  const [layers, units] = payload.values.shape as [number, number];
  const still = payload.direction === "denoising" ? payload.corrupted_value : payload.clean_value;
  const rows: (string | number)[][] = [["receivers", "layer", "sender", payload.metric.replaceAll(" ", "_"), "change"]];
  for (let layer = 0; layer < layers; layer++) {
    for (let unit = 0; unit < units; unit++) {
      if (!payload.sends.data[layer * units + unit]) continue;
      const value = payload.values.data[layer * units + unit]!;
      rows.push([payload.receivers.join(" "), layer, unit === payload.model.n_heads ? "mlp" : unit, ...(Number.isNaN(value) ? ["", ""] : [value, value - still])]);
    }
  }
  return csv(rows);
}
