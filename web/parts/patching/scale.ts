// The colours of a patching picture: from where nothing moves (the paper) to blue, towards the clean answer,
// and to orange, away from it. As on the magnitude ramp, the scale is a square root, so that little shows.

import type { Palette } from "../palette.svelte";
import { channels } from "../palette.svelte";

export interface Scale {
  most: number; // the distance, in shares of clean − corrupted (or in the metric), that has full colour
}

/** `share` of the way to full colour, with its sign. */
export function shade(distance: number, { most }: Scale): number {
  const share = Math.min(1, Math.abs(distance) / most);
  return Math.sign(distance) * Math.sqrt(share);
}

export function mixed(palette: Palette, amount: number): [number, number, number] {
  const from = channels(palette.high);
  const to = channels(amount >= 0 ? palette.positive : palette.negative);
  const t = Math.min(1, Math.abs(amount));
  return [0, 1, 2].map((c) => Math.round(from[c]! + (to[c]! - from[c]!) * t)) as [number, number, number];
}

export const css = ([r, g, b]: [number, number, number]) => `rgb(${r} ${g} ${b})`;

/** Black or white, whichever stands out more. */
export function inkOver([r, g, b]: [number, number, number]): string {
  const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]! > 0.179 ? "#000000" : "#ffffff";
}

/** A number that fits into a cell: two decimals, without its zero where there is little room; "" for none. */
export function inCell(value: number, room: number, still: boolean): string {
  if (still || Number.isNaN(value) || room < 22) return "";
  const size = Math.abs(value);
  const plain = value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
  if (plain.length * 6.7 <= room - 3) return plain;
  const short = size < 1 ? plain.replace("0.", ".") : value.toFixed(size >= 10 ? 0 : 1).replace("-", "−");
  return short.length * 6.7 <= room - 1 ? short : "";
}
