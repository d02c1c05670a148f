// A probe at every layer and word: how cells are named, said and shaded, on the page and in files.

import type { ProbePositions } from "../../generated/payloads";
import type { State } from "../../hosts/contract";
import type { Drawing } from "../curves";
import type { Cell } from "../grid";
import { signed, three } from "../numbers";
import { css, inkOver, mixed } from "../patching/scale";
import type { Palette } from "../palette.svelte";

export type By = "score" | "selectivity";
export const TASKS = [["number", "number of the subject"], ["tense", "tense"], ["sentiment", "sentiment"], ["negation", "negation"]] as const;
export const SITES = [["mlp_out", "what the MLP adds"], ["attn_out", "what attention adds"], ["resid_post", "the stream after the block"]] as const;
export const USUAL = { task: "number", site: "mlp_out", n: 240, seed: 0 };

/** What the state asks to be probed; null before anything was. */
export function asked(state: State): typeof USUAL | null {
  if (state.probe === undefined) return null;
  const number = (text: string | undefined, otherwise: number) => (text !== undefined && /^\d+$/.test(text) ? Number(text) : otherwise);
  return { task: state.probe, site: state.probe_site ?? USUAL.site, n: number(state.probe_n, USUAL.n), seed: number(state.probe_seed, USUAL.seed) };
}

/** The cell that `text` names ("12.4": layer 12, word 4), if there is one. */
export function readCell(text: string | undefined, payload: ProbePositions | null): Cell | null {
  const found = /^(\d+)\.(\d+)$/.exec(text ?? "");
  if (!found || !payload) return null;
  const [row, column] = [Number(found[1]), Number(found[2])];
  return row < payload.model.n_layers && column < payload.words.length ? { row, column } : null;
}

export const at = (payload: ProbePositions, { row, column }: Cell): number => row * payload.words.length + column;

/** The cell with the highest accuracy at the last word, where the whole sentence was read. */
export function bestLast(payload: ProbePositions): Cell {
  const column = payload.words.length - 1;
  let row = 0;
  for (let layer = 1; layer < payload.done; layer++) if (payload.score.data[at(payload, { row: layer, column })]! > payload.score.data[at(payload, { row, column })]!) row = layer;
  return { row, column };
}

export const wordName = ({ words, word_types }: ProbePositions, word: number): string => words[word]![0]! + (word_types[word]! > 1 ? " …" : "");
export const typesName = (count: number): string => (count === 1 ? "1 word" : `${count} words`);
/** Whether nothing up to this word says the label, in a model that reads left to right. */
export const unknowable = ({ told_at, model }: ProbePositions, word: number): boolean => model.causal && told_at !== null && word < told_at;

/** How far a value is from saying nothing, in shares of the most that it could be: −1 to 1. */
export function share(payload: ProbePositions, by: By, value: number): number {
  return Math.max(-1, Math.min(1, by === "score" ? (value - payload.majority) / Math.max(1 - payload.majority, 1e-6) : value));
}

export interface Shade {
  fill: string;
  ink: string;
}
export function shadeOf(palette: Palette, payload: ProbePositions, by: By, value: number): Shade {
  const colour = mixed(palette, share(payload, by, value));
  return { fill: css(colour), ink: inkOver(colour) };
}

export function say(payload: ProbePositions, cell: Cell): string {
  const i = at(payload, cell);
  const where = `Layer ${cell.row} at word ${cell.column}, ${payload.words[cell.column]!.join(", ")}`;
  if (!Number.isFinite(payload.score.data[i]!)) return `${where}: not probed yet.`;
  return `${where}: accuracy ${three(payload.score.data[i]!)}, from ${three(payload.low.data[i]!)} to ${three(payload.high.data[i]!)}; the most common label ${three(payload.majority)}, control ${three(payload.control.data[i]!)}, selectivity ${signed(payload.selectivity.data[i]!)}, shuffled labels ${three(payload.shuffled.data[i]!)}.`;
}

/** One word's probes by layer. */
export function curvesAt(payload: ProbePositions, word: number): Drawing {
  const column = (values: Float32Array) => Array.from({ length: payload.model.n_layers }, (_, row) => values[at(payload, { row, column: word })]!);
  const layers = payload.model.n_layers;
  return {
    x: Array.from({ length: layers }, (_, i) => i),
    domain: [0, 1],
    ticks: [0, 0.25, 0.5, 0.75, 1],
    xTicks: Array.from({ length: layers }, (_, i) => i).filter((i) => i % (layers > 12 ? 5 : 1) === 0).map((i) => ({ at: i, label: String(i) })),
    xTitle: "layer",
    curves: [
      { name: "control task", values: column(payload.control.data), colour: "--key", dash: "6 3" },
      { name: "shuffled labels", values: column(payload.shuffled.data), colour: "--ink-soft", dash: "2 3" },
      { name: "linear probe", values: column(payload.score.data), colour: "--accent", width: 2.5, low: column(payload.low.data), high: column(payload.high.data) },
    ],
    levels: [{ name: "most common label", value: payload.majority, dash: "8 4" }],
  };
}
