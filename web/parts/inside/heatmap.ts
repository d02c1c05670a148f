// What the heatmap's payload says of its rows, columns and cells.

import type { ActivationHeatmap } from "../../generated/payloads";
import { rgb, shade, signedRamp } from "../network/paint";
import { colour, level, type Palette } from "../palette.svelte";

/** A letter for each kind of flag, so that a row says it in little room. */
export const FLAGS: Record<string, string> = { dead: "✕", doubled: "=", mixed: "~" };

export const flagsOf = (payload: ActivationHeatmap, unit: number): string[] => payload.units[unit]!.flags.map((flag) => flag.split(":")[0]!);

export const valueAt = (payload: ActivationHeatmap, unit: number, picture: number): number => payload.values.data[unit * payload.n + picture]!;

export class Shades {
  readonly most: number;
  readonly signed: boolean;
  private readonly own: Float64Array; // each unit's largest

  constructor(readonly payload: ActivationHeatmap, readonly byUnit: boolean) {
    this.own = new Float64Array(payload.units.length);
    let least = 0;
    payload.values.data.forEach((value, i) => {
      const unit = Math.floor(i / payload.n);
      this.own[unit] = Math.max(this.own[unit]!, Math.abs(value));
      least = Math.min(least, value);
    });
    this.most = Math.max(1e-12, ...this.own);
    this.signed = least < 0;
  }

  fill(palette: Palette, unit: number, picture: number): string {
    const value = valueAt(this.payload, unit, picture);
    const most = this.byUnit ? this.own[unit]! || 1 : this.most;
    return this.signed ? rgb(shade(signedRamp(palette), value, most)) : colour(palette, level(value / most));
  }
}

export interface Run {
  label: number;
  from: number;
  to: number;
}

/** The columns of each class where they stand together; none where they do not. */
export function runs({ order, picture_order, labels }: ActivationHeatmap): Run[] {
  if (order !== "class") return [];
  const found: Run[] = [];
  picture_order.data.forEach((picture, column) => {
    const label = labels.data[picture]!;
    const last = found.at(-1);
    if (last?.label === label) last.to = column + 1;
    else found.push({ label, from: column, to: column + 1 });
  });
  return found;
}
