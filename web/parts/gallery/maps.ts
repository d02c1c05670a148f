// A method's map laid over the picture: what is shown where, and in which colour.

import type { AttributionGallery, Picture, Tile } from "../../generated/payloads";
import { channels, type Palette } from "../palette.svelte";

/** How maps are drawn. */
export interface Look {
  opacity: number; // 0: the picture alone, 1: the map alone
  common: number | null; // one scale for all: full colour at so many times a map's mean size
  cells: boolean; // a layer's map by its cells, not enlarged smoothly
}
export interface Place {
  row: number;
  column: number;
}

const HATCH = 5; // pixels from stripe to stripe of what speaks against

export const key = (tile: Tile): string => tile.name;

/** Where the colour of a map is full. */
export const fullOf = (tile: Tile, look: Look): number => (look.common === null ? tile.full : look.common * tile.mean);

/** The scale that all maps can share: the middle one of their full colours, each in means of its own map. */
export function commonOf(tiles: Tile[]): number {
  const sorted = tiles.filter(({ mean }) => mean > 0).map(({ full, mean }) => full / mean).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 1;
}

/** The tiles in sight: of class activation maps those of one layer. */
export function shownTiles(payload: AttributionGallery, layer: string | null, more: Tile[] = []): Tile[] {
  const tiles = more.length ? [...payload.tiles.filter(({ name }) => !more.some((one) => one.name === name)), ...more] : payload.tiles;
  return tiles.filter((tile) => tile.layer === null || tile.name === "Score-CAM" || tile.layer === layer);
}

/** The cell of a map that a place of the picture lies in. */
export function cellOf(tile: Tile, place: Place, picture: Picture): Place {
  const [rows, columns] = tile.map.shape as [number, number];
  const [high, wide] = picture.pixels.shape as [number, number];
  return { row: Math.floor((place.row * rows) / high), column: Math.floor((place.column * columns) / wide) };
}

/** The map's value at a place of the picture, exactly. */
export function valueAt(tile: Tile, place: Place, picture: Picture): number {
  const cell = cellOf(tile, place, picture);
  return tile.map.data[cell.row * tile.map.shape[1]! + cell.column]!;
}

/** Where a map is largest in size, as a place of the picture. */
export function strongest(tile: Tile, picture: Picture): Place {
  let best = 0;
  tile.map.data.forEach((value, i) => Math.abs(value) > Math.abs(tile.map.data[best]!) && (best = i));
  const [rows, columns] = tile.map.shape as [number, number];
  const [high, wide] = picture.pixels.shape as [number, number];
  return {
    row: Math.floor(((Math.floor(best / columns) + 0.5) * high) / rows),
    column: Math.floor((((best % columns) + 0.5) * wide) / columns),
  };
}

/** The picture, and over it a map, `width` by `height` pixels. */
export function painted(picture: Picture, tile: Tile | null, look: Look, palette: Palette, width: number, height: number, dense = 1): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  const [high, wide] = picture.pixels.shape as [number, number];
  const [paper, positive, negative] = [palette.paper, palette.positive, palette.negative].map(channels) as [number[], number[], number[]];
  const see = tile ? Math.min(1, 1.25 * (1 - look.opacity)) : 1; // how much of the picture is seen
  const grey = tile ? Math.min(1, 3 * look.opacity) : 0;
  const strength = tile ? Math.min(1, 2 * look.opacity) : 0;
  const full = tile ? fullOf(tile, look) : 1;
  const read = tile && reader(tile, look.cells || tile.map.shape[0] === high, width, height);
  const stripe = HATCH * dense;
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * high) / height);
    for (let x = 0; x < width; x++) {
      const from = (row * wide + Math.floor((x * wide) / width)) * 3;
      const to = (y * width + x) * 4;
      const [r, g, b] = [picture.pixels.data[from]!, picture.pixels.data[from + 1]!, picture.pixels.data[from + 2]!];
      const luminance = 0.299 * r + 0.587 * g + 0.114 * b;
      const value = read ? read(x, y) : 0;
      let cover = full > 0 ? Math.min(1, Math.abs(value) / full) * strength : 0;
      if (value < 0 && (x + y) % stripe < 0.4 * stripe) cover *= 0.25;
      const tint = value < 0 ? negative : positive;
      for (let c = 0; c < 3; c++) {
        const own = c === 0 ? r : c === 1 ? g : b;
        const base = paper[c]! + (own + (luminance - own) * grey - paper[c]!) * see;
        image.data[to + c] = base + (tint[c]! - base) * cover;
      }
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The map's value at a pixel of a drawing: by its cells, or enlarged bilinearly. */
function reader(tile: Tile, cells: boolean, width: number, height: number): (x: number, y: number) => number {
  const { data } = tile.map;
  const [rows, columns] = tile.map.shape as [number, number];
  if (cells) return (x, y) => data[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)]!;
  const along = (at: number, size: number, count: number) => {
    const to = Math.min(count - 1, Math.max(0, ((at + 0.5) * count) / size - 0.5));
    const low = Math.floor(to);
    return [low, Math.min(count - 1, low + 1), to - low] as const;
  };
  const xs = Array.from({ length: width }, (_, x) => along(x, width, columns));
  const ys = Array.from({ length: height }, (_, y) => along(y, height, rows));
  return (x, y) => {
    const [left, right, u] = xs[x]!;
    const [top, bottom, v] = ys[y]!;
    const upper = data[top * columns + left]! * (1 - u) + data[top * columns + right]! * u;
    const lower = data[bottom * columns + left]! * (1 - u) + data[bottom * columns + right]! * u;
    return upper * (1 - v) + lower * v;
  };
}

/** The outline of a place that is known, as lines between pixels: [x0, y0, x1, y1] in pixels of the picture. */
export function outlineOf(place: { data: ArrayLike<number>; shape: number[] } | null): [number, number, number, number][] {
  if (!place) return [];
  const [rows, columns] = place.shape as [number, number];
  const at = (row: number, column: number) => row >= 0 && column >= 0 && row < rows && column < columns && place.data[row * columns + column]! > 0;
  const lines: [number, number, number, number][] = [];
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      if (at(row, column) !== at(row - 1, column)) lines.push([column, row, column + 1, row]);
      if (at(row, column) !== at(row, column - 1)) lines.push([column, row, column, row + 1]);
    }
  }
  return lines;
}
