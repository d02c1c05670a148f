// Counting numbers into bars about zero.

import { roundUp } from "./axis";

export interface Histogram {
  most: number; // the ends of the axis are at plus and minus this
  counts: number[];
  outside: number; // numbers that are no number
  total: number;
}

export const BARS = 24; // even, so that an edge stands at zero: no bar mixes the signs

/** The largest size among finite numbers, rounded up so that it holds still from frame to frame. */
export function reach(...all: ArrayLike<number>[]): number {
  let most = 0;
  for (const values of all) for (let i = 0; i < values.length; i++) if (Number.isFinite(values[i])) most = Math.max(most, Math.abs(values[i]!));
  return roundUp(most);
}

/** How many of `values` fall into each of `BARS` bars from -most to most. A zero counts as positive. */
export function histogram(values: ArrayLike<number>, most: number): Histogram {
  const counts = new Array<number>(BARS).fill(0);
  let outside = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) outside += 1;
    else {
      const bar = Math.floor(((values[i]! + most) / (2 * most)) * BARS);
      counts[Math.min(BARS - 1, Math.max(0, bar))]! += 1;
    }
  }
  return { most, counts, outside, total: values.length };
}

/** The units flagged in a layer of weights, as places. */
export function flagged(flags: ArrayLike<number> | undefined, layer: number): string[] {
  return flags ? Array.from(flags).flatMap((flag, unit) => (flag ? [`u${layer + 1}.${unit}`] : [])) : [];
}
