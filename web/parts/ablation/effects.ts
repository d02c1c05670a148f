// The effects of taking parts out: how they are named, laid out and coloured.

import type { Ablation } from "../../generated/payloads";
import type { Cell } from "../grid";
import { channels, inkOver, type Palette } from "../palette.svelte";

export const METRICS: Record<Ablation["metric"], { title: string; worse: "less" | "more" }> = {
  logit_difference: { title: "logit difference", worse: "less" },
  logit: { title: "logit", worse: "less" },
  log_probability: { title: "log probability", worse: "less" },
  probability: { title: "probability", worse: "less" },
  loss: { title: "loss on the text", worse: "more" },
  divergence: { title: "divergence (KL)", worse: "more" },
};
export const PARTS: Record<Ablation["parts"], string> = { head: "heads", mlp: "MLPs", attention: "attentions", layer: "layers", neuron: "neurons of a layer" };
export const WAYS: Record<Ablation["stood"]["instead"], string> = { zero: "zero", mean: "its mean in other texts", resample: "another text's" };
export const SOURCES: Record<Ablation["stood"]["source"], string> = {
  written: "the model writes", ioi: "of the family ioi", repeated: "of the family repeated", facts: "of the family facts",
  greater_than: "of the family greater_than", agreement: "of the family agreement", pronouns: "of the family pronouns",
  docstring: "of the family docstring", own: "your own",
};

/** The parts as cells of a grid: layers across and heads down, the neurons of a layer line by line. */
export class Layout {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  constructor(readonly payload: Ablation) {
    const [layers, each] = payload.values.shape as [number, number];
    this.count = layers * each;
    this.columns = payload.parts === "neuron" ? Math.min(48, each) : layers;
    this.rows = payload.parts === "neuron" ? Math.ceil(each / this.columns) : each;
  }

  get counted(): boolean {
    return this.payload.parts === "head" || this.payload.parts === "neuron";
  }

  /** Where a cell's number stands in `values`; past the end for a cell that is none. */
  index({ row, column }: Cell): number {
    return this.payload.parts === "neuron" ? row * this.columns + column : column * this.rows + row;
  }

  cell(index: number): Cell {
    if (this.payload.parts === "neuron") return { row: Math.floor(index / this.columns), column: index % this.columns };
    return { row: index % this.rows, column: Math.floor(index / this.rows) };
  }

  name(index: number): string {
    const { parts, layer } = this.payload;
    if (parts === "neuron") return `neuron.${layer}.${index}`;
    if (parts === "head") return `head.${Math.floor(index / this.rows)}.${index % this.rows}`;
    return `${parts}.${index}`;
  }

  effect(index: number): number {
    return this.payload.values.data[index]! - this.payload.base;
  }

  /** The largest effect there is, which the colours end at. */
  get most(): number {
    let most = 0;
    for (const value of this.payload.values.data) if (!Number.isNaN(value)) most = Math.max(most, Math.abs(value - this.payload.base));
    return most || 1;
  }
}

/** "head.3.5" as a sentence says it. */
export function said(name: string): string {
  const [kind, ...numbers] = name.split(".");
  return `${kind === "mlp" ? "MLP" : kind} ${numbers.join(".")}`;
}

export function readOut(text: string | undefined): string[] {
  return [...new Set([...(text ?? "").matchAll(/(?:head|neuron)\.\d+\.\d+|(?:mlp|attention|layer)\.\d+/g)].map(([name]) => name))];
}

/** The colour of a signed share of the scale, by its square root, and what is written on it. */
export function shade(palette: Palette, share: number): { fill: string; ink: string } {
  const strength = Math.sqrt(Math.min(1, Math.abs(share)));
  const [paper, end] = [channels(palette.paper), channels(share < 0 ? palette.negative : palette.positive)];
  const mixed = paper.map((from, i) => Math.round(from + (end[i]! - from) * strength)) as [number, number, number];
  return { fill: `rgb(${mixed.join(" ")})`, ink: inkOver(...mixed) };
}
