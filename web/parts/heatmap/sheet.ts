// A heatmap of units, whatever its columns are: what it has to say of its rows and cells, and its colours.

import type { Cell } from "../grid";
import { rgb, shade, signedRamp } from "../network/paint";
import { colour, level, type Palette } from "../palette.svelte";

export interface Sheet {
  label: string;
  rows: number;
  columns: number;
  name: (row: number) => string;
  marks: (row: number) => string; // of its flags
  fill: (palette: Palette, row: number, column: number) => string;
  negative: (row: number, column: number) => boolean; // marked by a dash as well: colour is not the only cue
  reading: (cell: Cell) => string;
}

/** A letter for each kind of flag, so that a row says it in little room. */
export const FLAGS: Record<string, string> = { dead: "✕", doubled: "=", duplicate: "=", correlated: "≈", mixed: "~" };

export const kindsOf = (flags: string[]): string[] => flags.map((flag) => flag.split(":")[0]!);

export const marksOf = (flags: string[]): string => kindsOf(flags).map((kind) => FLAGS[kind] ?? "").join("");

/** How many rows have each kind of flag. */
export function counted(kinds: string[], rows: { flags: string[] }[]): { kind: string; n: number }[] {
  return kinds.map((kind) => ({ kind, n: rows.filter(({ flags }) => kindsOf(flags).includes(kind)).length }));
}

const DASHED = -0.25; // of the scale: above it an orange is hardly one

/** one: one scale for all rows; own: each row to its largest; z: each less its mean, in its standard deviations. */
export type Scale = "one" | "own" | "z";

export const Z_END = 3; // standard deviations at the end of the scale

export class Shades {
  readonly most: number; // the value at the end of the scale: 1 of own, Z_END of z
  readonly signed: boolean;
  readonly root: boolean;
  private readonly own: Float64Array; // each row's largest
  private readonly mean: Float64Array;
  private readonly deviation: Float64Array;

  /** `from`: the columns before it count neither in the scale nor in the means. `root`: one signed scale by its square root. */
  constructor(readonly values: Float32Array, readonly columns: number, readonly scale: Scale, readonly from = 0, root = false) {
    this.root = root && scale === "one";
    const rows = values.length / columns;
    [this.own, this.mean, this.deviation] = [new Float64Array(rows), new Float64Array(rows), new Float64Array(rows)];
    let least = 0;
    for (let row = 0; row < rows; row++) {
      const seen = values.subarray(row * columns + from, (row + 1) * columns);
      for (const value of seen) {
        if (Number.isNaN(value)) continue;
        this.own[row] = Math.max(this.own[row]!, Math.abs(value));
        least = Math.min(least, value);
      }
      const mean = seen.reduce((sum, value) => sum + value, 0) / seen.length;
      this.mean[row] = mean;
      this.deviation[row] = Math.sqrt(seen.reduce((sum, value) => sum + (value - mean) ** 2, 0) / seen.length);
    }
    this.signed = least < 0 || scale === "z";
    this.most = scale === "z" ? Z_END : scale === "own" ? 1 : Math.max(1e-12, ...this.own);
  }

  at(row: number, column: number): number {
    return this.values[row * this.columns + column]!;
  }

  /** Less the row's mean, in its standard deviations; 0 in a row that never changes. */
  standardized(row: number, column: number): number {
    const deviation = this.deviation[row]!;
    return deviation > 1e-12 ? (this.at(row, column) - this.mean[row]!) / deviation : 0;
  }

  /** The cell on its scale: -1 to 1, beyond it where the column does not count. */
  share(row: number, column: number): number {
    if (this.scale === "z") return this.standardized(row, column) / Z_END;
    return this.at(row, column) / (this.scale === "own" ? this.own[row]! || 1 : this.most);
  }

  /** Where it stands between the colours of the scale, -1 to 1 and beyond. */
  private level(row: number, column: number): number {
    const share = this.share(row, column);
    return this.root ? Math.sign(share) * Math.sqrt(Math.abs(share)) : share;
  }

  negative(row: number, column: number): boolean {
    return this.signed && this.level(row, column) <= DASHED;
  }

  fill(palette: Palette, row: number, column: number): string {
    const share = this.share(row, column);
    if (Number.isNaN(share)) return palette.deep;
    if (!this.signed) return colour(palette, level(share));
    return rgb(shade(signedRamp(palette), this.level(row, column), 1));
  }
}
