// Axes that hold still: their ends are round numbers, so that they move seldom while a training runs.

import { scaleLinear, scaleLog } from "d3-scale";
import { finite } from "./curves";
import { three } from "../numbers";

export interface Scale {
  (value: number): number;
  invert(at: number): number;
}

/** The smallest of 1, 2, 5, 10, 20 … that is at least `size`. */
export function roundUp(size: number): number {
  if (!(size > 0) || !Number.isFinite(size)) return 1;
  if (size < 1e-300) return 1e-300; // below it powers of ten run out
  const ten = 10 ** Math.floor(Math.log10(size));
  const [step = 10] = [1, 2, 5].filter((one) => one * ten >= size * (1 - 1e-9));
  return step * ten;
}

/** Lowest and highest of an axis for these values: round numbers, and 0 where the axis is no logarithm. */
export function domain(values: number[], log: boolean): [number, number] {
  const seen = finite(values);
  if (log) {
    const positive = seen.filter((value) => value > 0);
    if (positive.length === 0) return [0.1, 1];
    const low = 1 / roundUp(1 / positive.reduce((a, b) => Math.min(a, b)));
    const high = roundUp(positive.reduce((a, b) => Math.max(a, b)));
    // A network that is solved to rounding would push everything else out of sight.
    return [Math.max(low, high * 1e-12), Math.max(high, low * 5)];
  }
  const low = seen.reduce((a, b) => Math.min(a, b), 0);
  const high = seen.reduce((a, b) => Math.max(a, b), 0);
  return [low < 0 ? -roundUp(-low) : 0, high > 0 || low === 0 ? roundUp(high) : 0];
}

export function scale(ends: [number, number], room: [number, number], log: boolean): Scale {
  return log ? scaleLog(ends, room).clamp(true) : scaleLinear(ends, room);
}

export function ticks(ends: [number, number], log: boolean, most: number): number[] {
  if (!log) return scaleLinear(ends, [0, 1]).ticks(most);
  const [low, high] = ends as [number, number];
  const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  // Powers of ten; where there are few of them, 2 and 5 times those between.
  const steps = high / low < 40 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((to - from + 1) / most));
  const found: number[] = [];
  for (let power = to; power >= from - 1; power -= every) {
    for (const step of steps) {
      const tick = Number((step * 10 ** power).toPrecision(3));
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) found.push(tick);
    }
  }
  return found.sort((a, b) => a - b);
}

/** A round number, short: 0.05, 12k, 10⁻⁶. */
export function tickText(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e4 && size < 1e6 && value % 100 === 0) return `${minus(value / 1000)}k`;
  if (size >= 1e6 && size < 1e9 && value % 1e5 === 0) return `${minus(value / 1e6)}M`;
  if (size >= 1e-3 && size < 1e4) return minus(Number(value.toPrecision(6)));
  return three(value).replace(/\.0+×/, "×").replace(/(\.\d*?)0+×/, "$1×").replace(/^(−?)1×/, "$1");
}

function minus(value: number): string {
  return String(value).replace("-", "−");
}

/** Pushes labels apart that would overlap, keeping their order and staying between `top` and `bottom`. */
export function apart(wanted: number[], gap: number, top: number, bottom: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const placed = [...wanted];
  let floor = top;
  for (const i of order) {
    placed[i] = Math.max(placed[i]!, floor);
    floor = placed[i]! + gap;
  }
  let ceiling = bottom;
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i]!, ceiling);
    ceiling = placed[i]! - gap;
  }
  return placed;
}

/** A number with every digit that tells it from its neighbours in float64. */
export function full(value: number): string {
  if (!Number.isFinite(value)) return three(value);
  return String(value).replaceAll("-", "−");
}
