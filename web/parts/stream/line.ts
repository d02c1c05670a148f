// The line of stations of one token: what each adds, the stations, the lens under each, the answer's rank.

import { scaleLinear, scaleLog } from "d3-scale";
import type { Residual } from "../../generated/payloads";
import { signed, three } from "../numbers";
import type { Palette } from "../palette.svelte";
import { visible } from "../tokens";
import type { Mark } from "./scene";

export type By = "share" | "cosine";

/** Where things stand from top to bottom; what a model does not have takes no room. */
export interface Room {
  bars: [number, number];
  stations: number;
  layers: number;
  lens: [number, number] | null;
  rank: [number, number] | null;
  height: number;
}

export function roomOf(payload: Residual): Room {
  const bars: [number, number] = [16, 176];
  const stations = 198;
  const layers = 218;
  if (!payload.lens) return { bars, stations, layers, lens: null, rank: null, height: 240 };
  return { bars, stations, layers, lens: [234, 304], rank: [314, 360], height: 376 };
}

export const AFTER = 72; // pixels to the right of the last stop: what is left over, and the logit itself

export interface Line {
  inside: Mark[]; // x counted from the first stop's left edge
  margin: Mark[]; // x counted from the left edge of the picture
}

export function partsOf(payload: Residual): number {
  return Math.max(1, (payload.stops.length - 1) / payload.model.n_layers);
}

/** What each stop adds at a position, and the sums so far. */
export function running(payload: Residual, position: number): { share: number[]; sums: number[]; logit: number } | null {
  const { shares } = payload;
  if (!shares) return null;
  const n = payload.tokens.length;
  const share = payload.stops.map((_, stop) => shares.share.data[stop * n + position]!);
  let sum = 0;
  const sums = share.map((value) => (sum += value));
  return { share, sums, logit: shares.logit.data[position]! };
}

export function line(payload: Residual, position: number, by: By, cell: number, left: number, palette: Palette): Line {
  const room = roomOf(payload);
  const inside: Mark[] = [];
  const margin: Mark[] = [];
  const width = payload.stops.length * cell;
  const values = by === "share" ? shares(payload, position, cell, left, palette, room, inside, margin) : cosines(payload, position, cell, left, palette, room, inside, margin);
  stations(payload, position, values, cell, palette, room, inside);
  const head = (y: number, text: string) => margin.push({ kind: "text", x: 0, y, text: cut(text, left - 8), fill: palette.soft });
  head(room.bars[0], by === "share" ? "adds to" : "cosine");
  head(room.stations, "stations");
  head(room.layers, "layer");
  if (by === "share" && payload.lens) {
    const { answer, wrong } = payload.lens;
    head(room.bars[0] + 16, left < 100 ? "logit" : wrong ? "the difference" : "the logit of");
    margin.push({ kind: "text", x: 0, y: room.bars[0] + 32, text: cut(visible(answer.token), left - 40), fill: palette.positive, mono: true, weight: 600 });
    if (wrong) margin.push({ kind: "text", x: 0, y: room.bars[0] + 48, text: cut(`− ${visible(wrong.token)}`, left - 40), fill: palette.negative, mono: true });
  }
  if (payload.lens && room.lens && room.rank) {
    head(room.lens[0] + 6, left < 100 ? "the lens" : "the lens says");
    lens(payload, position, cell, palette, room.lens, inside);
    ranks(payload, position, cell, left, palette, room.rank, inside, margin, width);
  }
  return { inside, margin };
}

/** About as many characters as `room` pixels hold. */
const cut = (text: string, room: number): string => {
  const most = Math.max(2, Math.floor(room / 6.4));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
};

function shares(payload: Residual, position: number, cell: number, left: number, palette: Palette, room: Room, inside: Mark[], margin: Mark[]): number[] {
  const { share, sums, logit } = running(payload, position)!;
  const [top, bottom] = room.bars;
  const y = scaleLinear([Math.min(0, logit, ...sums), Math.max(0, logit, ...sums)], [bottom, top]).nice(4);
  const width = share.length * cell;
  for (const tick of y.ticks(4)) {
    inside.push({ kind: "path", points: [[0, y(tick)], [width + 44, y(tick)]], stroke: tick === 0 ? palette.strong : palette.line, width: 1 });
    margin.push({ kind: "text", x: left - 6, y: y(tick), text: three(tick).replace(/\.0+$/, ""), fill: palette.soft, anchor: "end", mono: true });
  }
  share.forEach((value, i) => {
    const [from, to] = [y(sums[i]! - value), y(sums[i]!)];
    inside.push({ kind: "rect", x: i * cell + 1, y: Math.min(from, to), width: cell - 2, height: Math.max(1, Math.abs(from - to)), fill: value >= 0 ? palette.positive : palette.negative });
    inside.push({ kind: "path", points: [[i * cell + 1, y(sums[i]!)], [i + 1 < share.length ? (i + 2) * cell - 1 : width + 7, y(sums[i]!)]], stroke: palette.ink, width: 1 });
  });
  // What is left (biases and rounding), then the logit itself.
  const sum = sums.at(-1)!;
  inside.push({ kind: "rect", x: width + 7, y: Math.min(y(sum), y(logit)), width: 12, height: Math.max(2, Math.abs(y(logit) - y(sum))), fill: palette.paper, stroke: palette.ink, dash: "2 2" });
  inside.push({ kind: "path", points: [[width + 7, y(logit)], [width + 26, y(logit)]], stroke: palette.ink, width: 1 });
  inside.push({ kind: "rect", x: width + 26, y: Math.min(y(0), y(logit)), width: 18, height: Math.max(1, Math.abs(y(logit) - y(0))), fill: palette.ink });
  inside.push({ kind: "text", x: width + 35, y: y(logit) + (logit >= 0 ? -9 : 9), text: three(logit), fill: palette.ink, anchor: "middle", mono: true, weight: 600 });
  inside.push({ kind: "text", x: width + 35, y: logit >= 0 ? y(0) + 10 : y(0) - 10, text: payload.lens?.wrong ? "sum" : "logit", fill: palette.soft, anchor: "middle" });
  label(share, sums, y, cell, palette, inside);
  return share;
}

/** The largest shares in numbers, where there is room beside the bars. */
function label(share: number[], sums: number[], y: (value: number) => number, cell: number, palette: Palette, inside: Mark[]): void {
  const high = 12;
  const boxes = share.map((value, i) => {
    const [from, to] = [y(sums[i]! - value), y(sums[i]!)];
    return [i * cell, Math.min(from, to), (i + 1) * cell, Math.max(from, to)] as const;
  });
  const taken: (readonly [number, number, number, number])[] = [[share.length * cell, y(sums.at(-1)!) - 18, Infinity, y(0)], ...boxes];
  const order = share.map((_, i) => i).sort((a, b) => Math.abs(share[b]!) - Math.abs(share[a]!));
  for (const i of order.slice(0, 7)) {
    const text = signed(share[i]!);
    if (boxes[i]![3] - boxes[i]![1] < 8) break;
    const middle = share[i]! > 0 ? boxes[i]![1] - 9 : boxes[i]![3] + 9;
    for (const anchor of ["end", "start"] as const) {
      const x = anchor === "end" ? (i + 1) * cell - 1 : i * cell + 1;
      const [begin, end] = anchor === "end" ? [x - 7.3 * text.length, x] : [x, x + 7.3 * text.length];
      const box = [begin, middle - high / 2, end, middle + high / 2] as const;
      if (begin < 0 || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      inside.push({ kind: "text", x, y: middle, text, fill: share[i]! > 0 ? palette.positive : palette.negative, anchor, mono: true });
      break;
    }
  }
}

function cosines(payload: Residual, position: number, cell: number, left: number, palette: Palette, room: Room, inside: Mark[], margin: Mark[]): number[] {
  const n = payload.tokens.length;
  const values = payload.stops.map((_, stop) => payload.cosine.data[stop * n + position]!);
  const y = scaleLinear([-1, 1], [room.bars[1], room.bars[0]]);
  for (const tick of [-1, -0.5, 0, 0.5, 1]) {
    inside.push({ kind: "path", points: [[0, y(tick)], [values.length * cell, y(tick)]], stroke: tick === 0 ? palette.strong : palette.line, width: 1 });
    margin.push({ kind: "text", x: left - 6, y: y(tick), text: String(tick).replace("-", "−"), fill: palette.soft, anchor: "end", mono: true });
  }
  values.forEach((value, i) => {
    if (Number.isNaN(value)) return;
    inside.push({ kind: "rect", x: i * cell + 1, y: Math.min(y(0), y(value)), width: cell - 2, height: Math.max(1, Math.abs(y(value) - y(0))), fill: value >= 0 ? palette.positive : palette.negative });
  });
  return values;
}

/** The stations: attention round, MLP square, as large as what it adds; filled where it adds to what is
    drawn above, hollow where it takes away. */
function stations(payload: Residual, position: number, values: number[], cell: number, palette: Palette, room: Room, inside: Mark[]): void {
  const n = payload.tokens.length;
  const added = payload.stops.map((_, stop) => payload.added.data[stop * n + position]!);
  const most = Math.max(...added) || 1;
  const widest = Math.min(7, cell / 2 - 0.5);
  inside.push({ kind: "path", points: [[cell / 2, room.stations], [payload.stops.length * cell, room.stations]], stroke: palette.strong, width: 2 });
  payload.stops.forEach((stop, i) => {
    const value = values[i]!;
    const stroke = Number.isNaN(value) ? palette.ink : value >= 0 ? palette.positive : palette.negative;
    inside.push({
      kind: "dot", x: i * cell + cell / 2, y: room.stations, square: stop.kind === "mlp",
      r: 1.5 + (widest - 1.5) * Math.sqrt(added[i]! / most), stroke, fill: value >= 0 || stop.kind === "embed" ? stroke : palette.paper,
    });
  });
  const parts = partsOf(payload);
  const every = [1, 2, 5, 10].find((step) => step * parts * cell >= 20) ?? 20;
  for (let layer = 0; layer < payload.model.n_layers; layer += every) {
    inside.push({ kind: "text", x: (1 + layer * parts) * cell + (parts * cell) / 2, y: room.layers, text: String(layer), fill: palette.soft, anchor: "middle", mono: true });
  }
}

function lens(payload: Residual, position: number, cell: number, palette: Palette, [top, bottom]: [number, number], inside: Mark[]): void {
  const { best, vocabulary, answer, wrong } = payload.lens!;
  const n = payload.tokens.length;
  let stop = 0;
  while (stop < payload.stops.length) {
    const index = best.data[stop * n + position]!;
    const from = stop;
    while (stop < payload.stops.length && best.data[stop * n + position] === index) stop += 1;
    if (index < 0) continue; // not read yet
    const token = vocabulary[index]!;
    const text = visible(token);
    const [begin, wide] = [from * cell, (stop - from) * cell];
    const fill = token.id === answer.token.id ? palette.positive : token.id === wrong?.token.id ? palette.negative : palette.ink;
    inside.push({ kind: "path", points: [[begin + 2, top], [begin + wide - 2, top]], stroke: palette.strong, width: 1.5 });
    const mark = { kind: "text", fill, mono: true, weight: fill === palette.ink ? 400 : 600 } as const;
    if (7.3 * text.length + 3 < wide) inside.push({ ...mark, x: begin + 3, y: top + 11, text });
    // Of guesses too short for their text those that are the answer or the last are written, downwards; the others are hovered.
    else if (fill !== palette.ink || stop === payload.stops.length) inside.push({ ...mark, x: begin + cell / 2, y: top + 5, text: cut(text, (bottom - top) * 0.88), down: true });
  }
}

function ranks(payload: Residual, position: number, cell: number, left: number, palette: Palette, [top, bottom]: [number, number], inside: Mark[], margin: Mark[], width: number): void {
  const { answer, wrong } = payload.lens!;
  const n = payload.tokens.length;
  const y = scaleLog([1, Math.max(10, payload.model.vocab_size)], [top, bottom]);
  for (const tick of [1, 100, 10000].filter((value) => value <= payload.model.vocab_size)) {
    inside.push({ kind: "path", points: [[0, y(tick)], [width, y(tick)]], stroke: palette.line, width: 1 });
    margin.push({ kind: "text", x: left - 6, y: y(tick), text: tick >= 1000 ? `${tick / 1000}k` : String(tick), fill: palette.soft, anchor: "end", mono: true });
  }
  const path = (data: Int32Array): [number, number][] =>
    payload.stops.flatMap((_, stop): [number, number][] => {
      const rank = data[stop * n + position]!;
      return rank < 0 ? [] : [[stop * cell + cell / 2, y(rank + 1)]];
    });
  if (wrong) inside.push({ kind: "path", points: path(wrong.rank.data), stroke: palette.negative, width: 1.5, dash: "4 3" });
  inside.push({ kind: "path", points: path(answer.rank.data), stroke: palette.positive, width: 2 });
  margin.push({ kind: "text", x: 0, y: top, text: "rank of", fill: palette.soft });
  margin.push({ kind: "text", x: 0, y: top + 16, text: cut(visible(answer.token), left - 34), fill: palette.positive, mono: true, weight: 600 });
  if (wrong) margin.push({ kind: "text", x: 0, y: top + 32, text: cut(visible(wrong.token), left - 34), fill: palette.negative, mono: true });
}
