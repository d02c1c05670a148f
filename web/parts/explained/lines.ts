// Token attribution: shares, the order of the tokens, and how lines wrap.

import type { Attributed, TokenAttribution } from "../../generated/payloads";
import { visible } from "../tokens";

export type Method = Attributed["method"];

/** The pixels of a monospaced character, of text that stands at `size`. */
export const charAt = (size: number): number => size * 0.94 * 0.6;
export const AROUND = 11; // px beside a token's text, in its cell

/** Σ |v| of a line, of what is known. */
export const weightOf = (row: Attributed): number => row.values.data.reduce((sum, value) => sum + Math.abs(value), 0);

export const isDone = (row: Attributed, payload: TokenAttribution): boolean => row.done === payload.tokens.length;

/** A token's signed share of its line, v / Σ|v|; null where it is not known yet. */
export function shareOf(row: Attributed, position: number): number | null {
  if (position >= row.done) return null;
  const weight = weightOf(row);
  return weight > 0 ? row.values.data[position]! / weight : 0;
}

export const mostOf = (row: Attributed): number => {
  const weight = weightOf(row);
  return weight > 0 ? row.values.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / weight : 0;
};

/** Positions in the order that they are drawn in: the text's, or largest first by one of the methods. */
export function ordered(payload: TokenAttribution, by: string | undefined): number[] {
  const positions = payload.tokens.map((_, i) => i);
  const row = payload.rows.find(({ method }) => method === by);
  if (!row) return positions;
  const size = (position: number) => (position < row.done ? Math.abs(row.values.data[position]!) : -1);
  return positions.sort((a, b) => size(b) - size(a) || a - b);
}

/** The positions in lines no wider than `room` pixels, at a size of text. */
export function wrapped(payload: TokenAttribution, order: number[], room: number, size: number): number[][] {
  const lines: number[][] = [[]];
  let left = room;
  for (const position of order) {
    const wide = visible(payload.tokens[position]!).length * charAt(size) + AROUND;
    if (left < wide && lines.at(-1)!.length > 0) {
      lines.push([]);
      left = room;
    }
    lines.at(-1)!.push(position);
    left -= wide;
  }
  return lines;
}

/** Where a position stands among the values of a line, 1 the largest, signs aside. */
export function rankOf(row: Attributed, position: number): number {
  const size = Math.abs(row.values.data[position]!);
  return 1 + row.values.data.filter((value) => Math.abs(value) > size).length;
}

export const reference = (payload: TokenAttribution): Attributed | undefined => payload.rows.find(({ method }) => method === "leave_one_out");

const WORDS = ["none", "one", "two", "three", "four", "five", "six"];
const word = (count: number) => WORDS[count] ?? String(count);

/** What the lines say together: which token the answer loses most without, and who says so too. */
export function finding(payload: TokenAttribution): { top: number; value: number; agree: string; against: string } | null {
  const first = reference(payload);
  if (!first || first.top === null) return null;
  const others = payload.rows.filter(({ same_top }) => same_top !== null);
  const same = others.filter(({ same_top }) => same_top);
  const opposite = same.filter(({ same_sign }) => same_sign === false);
  const count = `${word(same.length)} of the ${word(others.length)} other methods`;
  return {
    top: first.top,
    value: first.values.data[first.top]!,
    agree: others.length === 0 ? "" : `${count.charAt(0).toUpperCase()}${count.slice(1)} name${same.length === 1 ? "s" : ""} it first too`,
    against: opposite.length > 0 ? `, ${opposite.length === same.length ? "" : `${word(opposite.length)} of them `}with the opposite sign (${opposite.map(({ title }) => title).join(", ")})` : "",
  };
}

export const NAMES: Record<Method, string> = {
  leave_one_out: "Leave one out", attn_lrp: "AttnLRP", cp_lrp: "CP-LRP", gradient_x_input: "Gradient × input",
  integrated_gradients: "Integrated gradients", attention_rollout: "Attention rollout", value_zeroing: "Value zeroing",
};
export const SHORT: Record<Method, string> = {
  leave_one_out: "Leave out", attn_lrp: "AttnLRP", cp_lrp: "CP-LRP", gradient_x_input: "Grad × in",
  integrated_gradients: "Int. grad.", attention_rollout: "Rollout", value_zeroing: "Zeroing",
};
