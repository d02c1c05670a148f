// The heatmap of units by tokens: what its payload says of its rows, columns and cells.

import type { Token, TokenActivations } from "../../generated/payloads";
import { columnNames, fit, type Surface } from "../grid";
import { signed } from "../numbers";
import { spoken, visible } from "../tokens";
import { marksOf, type Scale, type Shades, type Sheet } from "./sheet";

export type Order = "peak" | "cluster" | "size" | "number";
export const ORDERS: Record<Order, string> = { peak: "by where it peaks", cluster: "what goes together", size: "most first", number: "by number" };
export const SITES: Record<string, string> = {
  mlp_post: "MLP neurons", result: "heads, what each writes", attn_out: "what attention adds", mlp_out: "what the MLP adds", resid_post: "the stream after the layer",
};
export const SCALES: Record<Scale, string> = { z: "each row standardized", own: "each row to its largest", one: "one scale for all" };

/** What a unit of the site is called. */
export const unitOf = (site: string): string => ({ mlp_post: "neuron", result: "head" })[site] ?? "dimension";

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What is shown of each layer, in words. */
export const whatOf = ({ of, site }: TokenActivations): string => (/^\d+$/.test(of) ? `${unitOf(site)} ${of}` : of);

/** How a row is called where it stands alone: "Neuron 15.780", "Layer 3". */
export function rowName(payload: TokenActivations, row: number): string {
  const { unit } = payload.units[row]!;
  if (payload.rows === "layers") return `Layer ${unit}`;
  return `${capital(unitOf(payload.site))} ${unit === undefined ? "" : `${payload.layer}.${unit}`}`;
}

/** Which row each line of the picture shows. */
export function ordered(payload: TokenActivations, order: Order): number[] {
  const rows = payload.units.map((_, row) => row);
  if (payload.rows === "layers" || order === "size") return rows;
  if (order === "number") return rows.sort((a, b) => payload.units[a]!.unit - payload.units[b]!.unit);
  return Array.from((order === "peak" ? payload.by_peak : payload.by_cluster).data);
}

export function tokenSheet(payload: TokenActivations, shades: Shades, rows: number[]): Sheet {
  const { tokens, units } = payload;
  return {
    label: payload.rows === "layers"
      ? `${capital(whatOf(payload))} of ${payload.site}: ${rows.length} layers by ${tokens.length} tokens`
      : `${rows.length} units of ${payload.site}.${payload.layer} by ${tokens.length} tokens`,
    rows: rows.length,
    columns: tokens.length,
    name: (line) => `${units[rows[line]!]!.unit}`,
    marks: (line) => marksOf(units[rows[line]!]!.flags),
    fill: (palette, line, column) => shades.fill(palette, rows[line]!, column),
    negative: (line, column) => shades.negative(rows[line]!, column),
    reading: ({ row: line, column }) => {
      const row = rows[line]!;
      const z = shades.standardized(row, column);
      return `${rowName(payload, row)} at token ${column} ${spoken(tokens[column]!)}: ${signed(shades.at(row, column))}, ${signed(z)} standard deviations from its mean. ${units[row]!.flags.join("; ")}`;
    },
  };
}

const UPRIGHT = 44; // from this width on a column's name stands upright
export const ROOM = 34; // for the last name, which leans out of the grid

export const columnWidth = (tokens: number) => (room: number) => Math.max(14, Math.min(72, Math.floor(room / tokens)));
export const headRoom = (wide: number): number => (wide >= UPRIGHT ? 26 : 72);

/** The tokens above the columns, leaning where they are narrow; a line after the first where it does not count. */
export function drawTokens(tokens: Token[], first: boolean, surface: Surface, marked: number | undefined): void {
  const { context, palette, left, top, cellWidth, columns } = surface;
  if (first) {
    context.fillStyle = palette.strong;
    if (surface.x(1) > left) context.fillRect(surface.x(1) - 1, top, 1, surface.height);
  }
  if (cellWidth >= UPRIGHT) {
    columnNames(surface, tokens.map(visible), marked);
    context.textAlign = "left";
    return;
  }
  context.fillStyle = palette.ink;
  for (let column = columns[0]; column < columns[1]; column++) {
    const x = surface.x(column) + cellWidth / 2;
    if (x < left) continue;
    context.save();
    context.translate(x + 1, top - 5);
    context.rotate(-Math.PI / 3);
    context.font = `${column === marked ? 600 : 400} 12px ${palette.mono}`;
    context.fillText(fit(context, visible(tokens[column]!), top + 2), 0, 0);
    context.restore();
  }
}

/** The positions where |value| is largest, the first left out where it does not count. */
export function largestOf(payload: TokenActivations, row: number, count = 5): number[] {
  const n = payload.tokens.length;
  const size = (at: number) => Math.abs(payload.values.data[row * n + at]!);
  return payload.tokens.map((_, at) => at).slice(payload.first_left_out ? 1 : 0).sort((a, b) => size(b) - size(a)).slice(0, count);
}
