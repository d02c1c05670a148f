// What the steering bench draws: the doses, the layers, and the words that count.

import type { Steering, SteeringDoses } from "../generated/payloads";
import type { Curve, Drawing } from "./curves";

export interface Piece {
  text: string;
  side: 0 | 1 | null; // whose lexicon the word stands in
}

/** A written text with the words that count told apart. */
export function marked(text: string, lexicon: Set<string>[]): Piece[] {
  return (text.match(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_]+/gu) ?? []).map((part) => {
    const word = part.toLowerCase();
    return { text: part, side: lexicon[0]!.has(word) ? 0 : lexicon[1]!.has(word) ? 1 : null };
  });
}

type Measure = "score" | "divergence" | "distinct";

/** One measure by strength: the direction, and the bands of random and of shuffled ones. */
export function doses(payload: SteeringDoses, measure: Measure): Drawing {
  const n = payload.strengths.shape[0]!;
  const rows = (kind: string) => payload.kinds.flatMap((own, i) => (own === kind ? [payload[measure].data.subarray(i * n, (i + 1) * n)] : []));
  const band = (kind: string, name: string, colour: string, dash: string): Curve[] => {
    const found = rows(kind);
    if (found.length === 0) return [];
    const each = (fold: (values: number[]) => number) => Array.from({ length: n }, (_, i) => fold(found.map((row) => row[i]!)));
    const mean = each((values) => values.reduce((a, b) => a + b, 0) / values.length);
    return [{ name, values: mean, colour, dash, low: each((values) => Math.min(...values)), high: each((values) => Math.max(...values)) }];
  };
  const own = rows("vector")[0]!;
  const values = [...payload[measure].data].filter(Number.isFinite);
  const [low, high] = measure === "distinct" ? [0, 1] : measure === "divergence" ? [0, Math.max(0.1, ...values)] : [Math.min(-1, ...values), Math.max(1, ...values)];
  const size = (high - low) / 4;
  const step = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20].find((one) => one >= size) ?? 50;
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9; tick += step) ticks.push(Math.round(tick * 100) / 100);
  return {
    x: [...payload.strengths.data].map((value) => Math.round(value * 1e4) / 1e4),
    domain: [low, high], ticks,
    xTicks: [...payload.strengths.data].map((at) => ({ at, label: String(Math.round(at * 100) / 100).replace("-", "−") })),
    xTitle: "strength, in typical norms of the stream",
    marks: [{ x: payload.natural, label: `as found ${payload.natural.toFixed(2)}` }],
    curves: [
      ...band("random", "random", "--ink-soft", "2 3"),
      ...band("shuffled", "shuffled sides", "--key", "6 3"),
      { name: payload.labels[0] === "own" ? "yours" : payload.labels[0]!, values: own, colour: "--accent", width: 2.5 },
    ],
    levels: [],
  };
}

/** Natural strength and consistency by layer. */
export function layers(payload: Steering): Drawing {
  const values = [...payload.naturals.data, ...payload.consistency.data].filter(Number.isFinite);
  const top = Math.max(0.5, ...values);
  const every = payload.naturals.data.length > 16 ? 5 : 1;
  return {
    x: [...payload.naturals.data].map((_, i) => i),
    domain: [Math.min(0, ...values), top], ticks: top > 1 ? [0, 0.5, 1, Math.round(top * 10) / 10] : [0, 0.25, 0.5, 0.75, 1].filter((tick) => tick <= top),
    xTicks: [...payload.naturals.data].flatMap((_, i) => (i % every === 0 ? [{ at: i, label: String(i) }] : [])),
    xTitle: "layer",
    curves: [
      ...(payload.consistency.data.some(Number.isFinite) ? [{ name: "pairs agree", values: payload.consistency.data, colour: "--query", dash: "6 3" }] : []),
      { name: "strength as found", values: payload.naturals.data, colour: "--accent", width: 2 },
    ],
  };
}

export interface Sides {
  firsts: string[];
  seconds: string[];
  trouble: string | null;
}

/** The two sides of one's own contrast; a line of the first with a tab or a | in it is a pair. */
export function readSides(first: string, second: string): Sides {
  const lines = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const firsts: string[] = [];
  const seconds = lines(second);
  for (const line of lines(first)) {
    const [one, other] = line.split(/\t|\s\|\s/, 2) as [string, string | undefined];
    firsts.push(one.trim());
    if (other?.trim()) seconds.push(other.trim());
  }
  const both = firsts.find((text) => seconds.includes(text));
  const trouble =
    firsts.length === 0 ? "The first side has no texts yet." : seconds.length === 0 ? "The second side has no texts yet."
    : both !== undefined ? `“${both.slice(0, 40)}” is on both sides.` : firsts.length < 2 || seconds.length < 2 ? "Two texts a side at least; ten or more are better." : null;
  return { firsts, seconds, trouble };
}
