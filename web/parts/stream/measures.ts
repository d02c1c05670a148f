// What the grid of tokens by stops can show, each with its scale.

import type { Residual } from "../../generated/payloads";
import { three } from "../numbers";
import { visible } from "../tokens";

export const MEASURES = ["norm", "added", "cosine", "final", "share", "probability", "rank"] as const;
export type MeasureName = (typeof MEASURES)[number];

export interface Measure {
  title: string;
  value: (at: number) => number;
  /** Where on its scale a value stands: 0 to 1 on the ramp, -1 to 1 if `signed`. */
  level: (value: number) => number;
  signed: boolean;
  scale: string; // in words
  ticks: { place: number; label: string }[]; // from 0, the left end, to 1
}

/** Those that this payload has, with what a list calls them. */
export function offered(payload: Residual): [MeasureName, string][] {
  const { lens, shares } = payload;
  return MEASURES.filter((name) => (name === "share" ? shares : name === "probability" || name === "rank" ? lens : true)).map((name) => [
    name, titleOf(payload, name),
  ]);
}

function titleOf(payload: Residual, name: MeasureName): string {
  const answer = payload.lens ? visible(payload.lens.answer.token) : "";
  return {
    norm: "length of the stream",
    added: "length of what is added",
    cosine: "cosine of what is added with the stream before",
    final: "cosine of what is added with the last stream",
    share: `share of the ${attributed(payload)}`,
    probability: `probability of ${answer} under the lens`,
    rank: `rank of ${answer} under the lens`,
  }[name];
}

/** What the shares are of, with the tokens as they are shown. */
export function attributed({ lens }: Residual): string {
  if (!lens) return "logit";
  const answer = visible(lens.answer.token);
  return lens.wrong ? `logit difference ${answer} − ${visible(lens.wrong.token)}` : `logit of ${answer}`;
}

export function measured(payload: Residual, name: MeasureName): Measure {
  const title = titleOf(payload, name);
  const { lens, shares } = payload;
  const read = (array: { data: ArrayLike<number> }) => (at: number) => array.data[at]!;
  if (name === "norm" || name === "added") {
    const array = name === "norm" ? payload.norm : payload.added;
    const found = [...array.data].filter((value) => value > 0 && Number.isFinite(value));
    return { title, value: read(array), signed: false, scale: "log scale", ...logarithmic(Math.min(...found), Math.max(...found)) };
  }
  if (name === "cosine" || name === "final") {
    const ticks = [-1, -0.5, 0, 0.5, 1].map((value) => ({ place: (value + 1) / 2, label: three(value).replace(/\.?0+$/, "") || "0" }));
    return { title, value: read(name === "cosine" ? payload.cosine : payload.cosine_final), signed: true, level: (value) => value, scale: "", ticks };
  }
  if (name === "share" && shares) {
    const most = Math.max(1e-12, ...[...shares.share.data].map(Math.abs));
    const ticks = [-1, 0, 1].map((side) => ({ place: (side + 1) / 2, label: side === 0 ? "0" : (side > 0 ? "+" : "") + three(side * most) }));
    return { title, value: read(shares.share), signed: true, level: (value) => Math.sign(value) * Math.sqrt(Math.abs(value) / most), scale: "square-root scale", ticks };
  }
  const vocabulary = payload.model.vocab_size;
  if (name === "rank") {
    const { level, ticks } = logarithmic(1, vocabulary);
    return {
      title, value: (at) => lens!.answer.rank.data[at]! + 1, signed: false, scale: "1 is the best, log scale",
      level: (value) => (value > 0 ? 1 - level(value) : NaN), ticks: ticks.map(({ place, label }) => ({ place: 1 - place, label })),
    };
  }
  const ticks = [0, 0.05, 0.25, 0.5, 1].map((value) => ({ place: Math.sqrt(value), label: String(value) }));
  return { title, value: read(lens!.answer.probability), signed: false, level: (value) => Math.sqrt(value), scale: "square-root scale", ticks };
}

function logarithmic(low: number, high: number): Pick<Measure, "level" | "ticks"> {
  const span = Math.log(high / low) || 1;
  const level = (value: number) => (value > 0 ? Math.min(1, Math.max(0, Math.log(value / low) / span)) : NaN);
  const ticks = [low, high].map((value) => ({ place: level(value), label: short(value) }));
  for (let tick = 10 ** Math.ceil(Math.log10(low)); tick < high; tick *= 10) {
    const place = level(tick);
    if (ticks.every((other) => Math.abs(other.place - place) > 0.16)) ticks.push({ place, label: short(tick) });
  }
  return { level, ticks };
}

/** A tick's label: `12.3`, `884`, `22k`. */
function short(value: number): string {
  if (value >= 9999.5) return `${Math.round(value / 1000)}k`;
  return value >= 99.95 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

/** Where the first token's stream is of another order than all others', in a sentence; else null. */
export function outlier(payload: Residual): string | null {
  const n = payload.tokens.length;
  if (n < 2) return null;
  let [first, other, stop] = [0, 0, 0];
  payload.norm.data.forEach((value, at) => {
    if (at % n !== 0) other = Math.max(other, value);
    else if (value > first) [first, stop] = [value, at / n];
  });
  if (first < 4 * other) return null;
  return `The first token's stream reaches a length of ${short(first)} (after ${payload.stops[stop]!.name}), all others at most ${short(other)}: the scale is a logarithm.`;
}
