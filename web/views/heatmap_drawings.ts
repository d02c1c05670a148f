// Heatmaps of units by pictures and by tokens, as SVG and CSV.

import type { ActivationHeatmap, TokenActivations } from "../generated/payloads";
import { csv } from "../parts/export";
import { SCALES, tokenSheet, whatOf } from "../parts/heatmap/tokens";
import type { Shades, Sheet } from "../parts/heatmap/sheet";
import { pictureSheet, runs, valueAt } from "../parts/inside/heatmap";
import { hueOf } from "../parts/inside/marks";
import { readPalette, type Palette } from "../parts/palette.svelte";
import { visible } from "../parts/tokens";
import { number, page, painted, picture, text } from "./drawings";

const LEFT = 84;
const FEW = 20_000; // cells that are drawn one by one; more are one embedded image

function cells(sheet: Sheet, wide: number, high: number, top: number, palette: Palette): string {
  let body = "";
  for (let row = 0; row < sheet.rows; row++) {
    const marks = sheet.marks(row);
    body += text(LEFT - 8, top + row * high + 11, `${sheet.name(row)}${marks ? ` ${marks}` : ""}`, marks ? palette.wrong : palette.soft, 'text-anchor="end"');
  }
  if (sheet.rows * sheet.columns > FEW) {
    return body + picture(LEFT, top, sheet.columns * wide, sheet.rows * high, painted(sheet.columns, sheet.rows, (column, row) => sheet.fill(palette, row, column)));
  }
  for (let row = 0; row < sheet.rows; row++) {
    for (let column = 0; column < sheet.columns; column++) {
      body += `<rect x="${LEFT + column * wide}" y="${top + row * high}" width="${wide}" height="${high - 1}" fill="${sheet.fill(palette, row, column)}"/>`;
      if (sheet.negative(row, column)) body += `<rect x="${LEFT + (column + 0.5) * wide - 2.5}" y="${top + row * high + 6}" width="5" height="1" fill="${palette.ink}" fill-opacity="0.6"/>`;
    }
  }
  return body;
}

export function heatmapSvg(payload: ActivationHeatmap, shades: Shades): string {
  const palette = readPalette();
  const [wide, high, top] = [7, 14, 76];
  let body = cells(pictureSheet(payload, shades), wide, high, top, palette);
  for (const { label, from, to } of runs(payload)) {
    body += text(LEFT + from * wide, top - 12, payload.net.classes[label]!.slice(0, Math.max(1, Math.floor(((to - from) * wide) / 7.3))), palette.ink);
    body += `<rect x="${LEFT + from * wide}" y="${top - 6}" width="${(to - from) * wide - 1}" height="4" fill="${palette.categories[hueOf(label)]}"/>`;
  }
  const title = `${payload.net.title}: ${payload.units.length} units of ${payload.layer} by ${payload.n} pictures of ${payload.set}, to ${shades.scale === "own" ? "each unit's largest" : number(shades.most)}`;
  return page(Math.max(700, LEFT + payload.n * wide + 20), top + payload.units.length * high + 24, title, body, palette);
}

export function heatmapCsv(payload: ActivationHeatmap): string {
  const rows: (string | number)[][] = [["unit", "flags", ...Array.from(payload.picture_order.data, (picture) => `${payload.set}:${picture}`)]];
  rows.push(["class", "", ...Array.from(payload.picture_order.data, (picture) => payload.net.classes[payload.labels.data[picture]!]!)]);
  for (const unit of payload.unit_order.data) {
    rows.push([unit, payload.units[unit]!.flags.join("; "), ...Array.from(payload.picture_order.data, (picture) => number(valueAt(payload, unit, picture)))]);
  }
  return csv(rows);
}

export function tokensSvg(payload: TokenActivations, shades: Shades, rows: number[]): string {
  const palette = readPalette();
  const sheet = tokenSheet(payload, shades, rows);
  const [wide, high, top] = [Math.max(14, Math.min(44, Math.floor(600 / sheet.columns))), 14, 130];
  let body = cells(sheet, wide, high, top, palette);
  payload.tokens.forEach((token, column) => {
    body += text(0, 0, visible(token).slice(0, 12), palette.ink, `transform="translate(${LEFT + column * wide + wide / 2 + 3} ${top - 6}) rotate(-60)"`);
  });
  if (payload.first_left_out) body += `<rect x="${LEFT + wide - 1}" y="${top}" width="1.5" height="${rows.length * high}" fill="${palette.strong}"/>`;
  const what = payload.rows === "layers" ? `${whatOf(payload)} of ${payload.site} by layer` : `${rows.length} of ${payload.width} units of ${payload.site}.${payload.layer}`;
  const scale = shades.scale === "z" ? `${SCALES.z}, to ${shades.most} standard deviations` : shades.scale === "own" ? SCALES.own : `to ${number(shades.most)}`;
  body += text(20, 52, `${what}, ${scale}`, palette.soft);
  return page(Math.max(720, LEFT + sheet.columns * wide + 60), top + rows.length * high + 24, `${payload.model.title}: units by tokens`, body, palette);
}

export function tokensCsv(payload: TokenActivations, rows: number[]): string {
  const n = payload.tokens.length;
  const first = payload.rows === "layers" ? "layer" : "unit";
  const lines: (string | number)[][] = [[first, "mean", "deviation", "partner", "correlation", "chance", "flags", ...payload.tokens.map((token) => token.text)]];
  for (const row of rows) {
    const one = payload.units[row]!;
    const compared = one.partner === null ? ["", "", ""] : [one.partner, number(one.correlation), number(one.chance)];
    lines.push([
      one.unit, number(one.mean), number(one.deviation), ...compared, one.flags.join("; "),
      ...Array.from(payload.values.data.subarray(row * n, (row + 1) * n), number),
    ]);
  }
  return csv(lines);
}
