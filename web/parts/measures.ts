// What the picture of a head shows of it: its weights, the scores they come from, or the length of what
// they move; of one text, or of one text less another.

import type { Head, HeadRow } from "../generated/payloads";
import { entry, weight } from "./heads";
import { rgb, shade, signedRamp } from "./network/paint";
import { colour, inkOn, inkOver, level, type Palette } from "./palette.svelte";

export type MeasureName = "pattern" | "score" | "moved";

export const MEASURES: Record<MeasureName, { title: string; unit: string; about: string }> = {
  pattern: {
    title: "weight", unit: "weight",
    about: "Weight: softmax of the scores over a row, which sums to 1. It says where the head looks, not what it takes from there.",
  },
  score: {
    title: "raw score", unit: "score",
    about: "Raw score: q·k / √d, before the softmax. Only differences within a row mean something; adding a number to a whole row changes no weight.",
  },
  moved: {
    title: "weight × value", unit: "length",
    about: "Weight × |v W_O|: the length of the vector that goes from key to query (Kobayashi et al. 2020). A head at rest looks where values are short. A long vector may still point where nothing reads, and two may cancel.",
  },
};
export const MEASURE_NAMES = Object.keys(MEASURES) as MeasureName[];

export const measureNamed = (text: string | undefined): MeasureName => MEASURE_NAMES.find((name) => name === text) ?? "pattern";

/** What of one measure the picture shows. */
export class Measure {
  readonly signed: boolean;
  /** The end of the colour scale. */
  readonly most: number;

  /** @param less another text's same head: the picture is then of `head` less it. */
  constructor(readonly name: MeasureName, readonly head: Head, readonly less: Head | null = null) {
    this.signed = name === "score" || less !== null;
    this.most = name === "pattern" && less === null ? 1 : this.largest();
  }

  get about() {
    return MEASURES[this.name];
  }

  at(query: number, key: number): number {
    const own = read(this.name, this.head, query, key);
    return this.less ? own - read(this.name, this.less, query, key) : own;
  }

  /** How much of the scale a value takes, 0 to 1. */
  share(value: number): number {
    return this.most > 0 ? Math.min(1, Math.abs(value) / this.most) : 0;
  }

  fill(palette: Palette, value: number): string {
    if (this.signed) return rgb(shade(signedRamp(palette), this.bent(value), this.most));
    return colour(palette, level(this.share(value)));
  }

  ink(palette: Palette, value: number): string {
    if (!this.signed) return inkOn(palette, level(this.share(value)));
    const word = shade(signedRamp(palette), this.bent(value), this.most);
    return inkOver(word & 255, (word >> 8) & 255, (word >> 16) & 255);
  }

  /** Differences are shown by their square root, as weights are, so that small ones show. */
  private bent(value: number): number {
    return this.less ? Math.sign(value) * Math.sqrt(this.share(value)) * this.most : value;
  }

  private largest(): number {
    const n = this.head.tokens.length;
    let most = 0;
    for (let query = 0; query < n; query++) {
      for (let key = 0; key < (this.head.causal ? query + 1 : n); key++) most = Math.max(most, Math.abs(this.at(query, key)));
    }
    return most;
  }
}

function read(name: MeasureName, head: Head, query: number, key: number): number {
  if (head.causal && key > query) return 0;
  if (name === "score") return head.scores.data[entry(head, query, key)] ?? 0;
  return weight(head, query, key) * (name === "moved" ? head.value_norms.data[key]! : 1);
}

/** A key's number in a row as computed. */
export function inRow(name: MeasureName, row: HeadRow, key: number): number {
  return (name === "score" ? row.scores : name === "moved" ? row.weighted : row.pattern).data[key]!;
}
