// Signed colours: from orange (-1) through the paper (0) to blue (1).

import { channels, type Palette } from "../palette.svelte";

/** Below this a cell is marked with its sign, so that colour is not the only cue. */
export const FAINT = -0.12;

export function shade(palette: Palette, level: number): string {
  const end = channels(level < 0 ? palette.negative : palette.positive);
  const share = Math.min(1, Math.abs(level));
  return `rgb(${channels(palette.paper).map((from, c) => Math.round(from + (end[c]! - from) * share)).join(" ")})`;
}
