// The gallery and the table of methods as SVG and as CSV.

import type { AttributionGallery, AttributionTable, TableRow, Tile } from "../generated/payloads";
import { csv } from "../parts/export";
import type { Column } from "../parts/gallery/columns";
import { painted, type Look } from "../parts/gallery/maps";
import { three } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { number, page, text } from "./drawings";

const WIDE = 190;
const SIDE = 256; // pixels of a map in the file

export function gallerySvg(payload: AttributionGallery, tiles: Tile[], look: Look): string {
  const palette = readPalette();
  const [rows, columns] = payload.picture.pixels.shape as [number, number];
  const high = Math.round((WIDE * rows) / columns);
  const step = high + 52;
  const across = Math.min(5, tiles.length + 1);
  let body = "";
  const all: (Tile | null)[] = [null, ...tiles];
  all.forEach((tile, i) => {
    const x = 20 + (i % across) * (WIDE + 14);
    const y = 48 + Math.floor(i / across) * step;
    const image = painted(payload.picture, tile, look, palette, SIDE, Math.round((SIDE * rows) / columns));
    body += `<image x="${x}" y="${y}" width="${WIDE}" height="${high}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${image.toDataURL()}"/>`;
    body += text(x, y + high + 16, tile?.name ?? "the picture", palette.ink);
    const said = tile === null ? "" : tile.expected !== null ? `Σ ${three(tile.total)} of ${three(tile.expected)}` : tile.layer ? `at ${tile.layer}` : `colour full at ${three(tile.full)}`;
    body += text(x, y + high + 32, said, palette.soft);
  });
  const against = payload.contrast === null ? "" : ` against ${payload.net.classes[payload.contrast]}`;
  return page(26 + across * (WIDE + 14), 60 + Math.ceil(all.length / across) * step, `${payload.net.title}: why ${payload.net.classes[payload.target]}${against}? Blue for it, orange hatched against it.`, body, palette);
}

/** A map's values, one a line; without one, what is said of every method. */
export function galleryCsv(tiles: Tile[], pinned: Tile | null): string {
  if (pinned) {
    const columns = pinned.map.shape[1]!;
    return csv([["row", "column", pinned.name], ...[...pinned.map.data].map((value, i) => [Math.floor(i / columns), i % columns, number(value)])]);
  }
  const known = (value: number | boolean | null) => (value === null ? "" : typeof value === "boolean" ? Number(value) : number(value));
  return csv([
    ["method", "layer", "sum", "should_be", "largest", "share_on_figure", "strongest_on_figure", "share_on_mark", "notes"],
    ...tiles.map((tile) => [
      tile.name, tile.layer ?? "", number(tile.total), known(tile.expected), number(tile.most), known(tile.mass), known(tile.hit), known(tile.on_mark), tile.notes.join(" "),
    ]),
  ]);
}

export function tableSvg(payload: AttributionTable, rows: TableRow[], columns: Column[], say: (column: Column, value: number | null) => string): string {
  const palette = readPalette();
  const [name, wide, high] = [220, 104, 26];
  let body = text(20, 66, "method", palette.soft);
  columns.forEach((column, i) => {
    const words = column.title.split(" ");
    const first = words.slice(0, Math.ceil(words.length / 2)).join(" ");
    body += text(name + i * wide, 52, first, palette.soft) + text(name + i * wide, 66, words.slice(Math.ceil(words.length / 2)).join(" "), palette.soft);
  });
  rows.forEach((row, at) => {
    const y = 76 + at * high;
    body += text(20, y + 14, row.name, palette.ink);
    columns.forEach((column, i) => {
      const value = row[column.key];
      body += text(name + i * wide, y + 12, say(column, value), palette.ink);
      if (value === null || column.most === null) return;
      body += `<rect x="${name + i * wide}" y="${y + 16}" width="80" height="4" fill="${palette.line}"/>`;
      body += `<rect x="${name + i * wide}" y="${y + 16}" width="${80 * Math.min(1, Math.abs(value) / column.most)}" height="4" fill="${value < 0 ? palette.negative : palette.positive}"/>`;
    });
  });
  return page(name + columns.length * wide, 96 + rows.length * high, `${payload.net.title}: methods on ${payload.n} pictures of ${payload.set_title}`, body, palette);
}

export function tableCsv(rows: TableRow[], columns: Column[]): string {
  return csv([["method", ...columns.map(({ key }) => key)], ...rows.map((row) => [row.name, ...columns.map(({ key }) => (row[key] === null ? "" : number(row[key]!)))])]);
}
