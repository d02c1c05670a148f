// A logit taken apart: the terms of each level, what is inside a term, and how it came about.

import type { DirectAttribution, NdArray } from "../generated/payloads";

export type Level = DirectAttribution["by"];
export type Order = "depth" | "size";

/** One term of the sum. `inside` is what a click opens; null where there is nothing further. */
export interface Term {
  name: string;
  label: string;
  value: number;
  inside: string | null;
  source: number | null; // the token it was read from
}

const at = (array: NdArray<Float32Array | Float64Array>, ...index: number[]): number =>
  array.data[index.reduce((sum, i, axis) => sum * array.shape[axis]! + i, 0)]!;

const LABELS: Record<string, string> = {
  embed: "embedding", pos_embed: "position embedding", type_embed: "type embedding",
  "final_norm.bias": "the final norm's shift", "unembed.bias": "the unembedding's bias",
};

function term(name: string, label: string, value: number, inside: string | null = null, source: number | null = null): Term {
  return { name, label, value, inside, source };
}

export const LEVELS: Record<Level, string> = {
  layer: "layer", part: "attention and MLP", head: "head and MLP", source: "token read and MLP", neuron: "attention and neuron",
};

/** All terms of a level, in the order of the stream. */
export function termsOf(payload: DirectAttribution, by: Level): Term[] {
  const constant = ({ name, value }: { name: string; value: number }) => term(name, LABELS[name] ?? name, value);
  const found = payload.constants.filter(({ first }) => first).map(constant);
  for (let layer = 0; layer < payload.attention.data.length; layer++) {
    if (by === "layer") {
      const value = at(payload.attention, layer) + (payload.mlp ? at(payload.mlp, layer) : 0);
      found.push(term(`layer.${layer}`, `layer ${layer}`, value, `layer.${layer}`));
    } else {
      if (by === "part" || by === "neuron") found.push(attention(payload, layer));
      else if (by === "head") found.push(...headsOf(payload, layer));
      else {
        for (const head of headsOf(payload, layer)) {
          found.push(...(head.inside ? sourcesOf(payload, head.inside, true) : [head]));
        }
      }
      if (by === "neuron" && payload.neurons) found.push(...neuronsOf(payload, layer, true));
      else if (payload.mlp) found.push(mlp(payload, layer));
    }
  }
  return [...found, ...payload.constants.filter(({ first }) => !first).map(constant)];
}

function attention(payload: DirectAttribution, layer: number): Term {
  return term(`attention.${layer}`, `attention ${layer}`, at(payload.attention, layer), `attention.${layer}`);
}

function mlp(payload: DirectAttribution, layer: number): Term {
  return term(`mlp.${layer}`, `MLP ${layer}`, at(payload.mlp!, layer), `mlp.${layer}`);
}

function headsOf(payload: DirectAttribution, layer: number): Term[] {
  const heads = Array.from({ length: payload.model.n_heads }, (_, head) => {
    const name = `head.${layer}.${head}`;
    return term(name, `head ${layer}.${head}`, at(payload.heads, layer, head), name);
  });
  if (!payload.attention_bias) return heads;
  return [...heads, term(`attention_bias.${layer}`, `output bias ${layer}`, at(payload.attention_bias, layer))];
}

function sourcesOf(payload: DirectAttribution, name: string, long = false): Term[] {
  const [, layer, head] = name.split(".").map(Number) as [number, number, number];
  const found = Array.from({ length: payload.sources.shape[2]! }, (_, source) =>
    term(`source.${layer}.${head}.${source}`, long ? `${layer}.${head} from` : "from", at(payload.sources, layer, head, source), null, source));
  if (payload.value_bias) {
    found.push(term(`value_bias.${layer}.${head}`, `value bias${long ? ` ${layer}.${head}` : ""}`, at(payload.value_bias, layer, head)));
  }
  return found;
}

function neuronsOf(payload: DirectAttribution, layer: number, long = false): Term[] {
  const width = payload.neurons!.shape[1]!;
  const found = Array.from({ length: width }, (_, n) =>
    term(`neuron.${layer}.${n}`, long ? `neuron ${layer}.${n}` : `neuron ${n}`, payload.neurons!.data[layer * width + n]!));
  if (payload.mlp_bias) found.push(term(`mlp_bias.${layer}`, `output bias${long ? ` ${layer}` : ""}`, at(payload.mlp_bias, layer)));
  return found;
}

/** What is opened: its terms, what they add up to, and the way back to the whole. */
export interface Opened {
  name: string | null;
  title: string;
  value: number;
  terms: Term[];
}

/** Inside a layer, attention, head or MLP; null for a name of nothing that this model has. */
export function inside(payload: DirectAttribution, name: string): Opened | null {
  const match = /^(layer|attention|mlp|head)\.(\d+)(?:\.(\d+))?$/.exec(name);
  if (!match) return null;
  const [, kind, layer, head] = [match[0], match[1], Number(match[2]), match[3] === undefined ? null : Number(match[3])] as const;
  if (layer >= payload.model.n_layers || (kind === "head") !== (head !== null) || (head ?? 0) >= payload.model.n_heads) return null;
  if (kind === "mlp") {
    if (!payload.mlp || !payload.neurons) return null;
    return { name, title: `MLP ${layer}`, value: at(payload.mlp, layer), terms: neuronsOf(payload, layer) };
  }
  if (kind === "head") return { name, title: `head ${layer}.${head}`, value: at(payload.heads, layer, head!), terms: sourcesOf(payload, name) };
  if (kind === "attention") return { name, title: `attention ${layer}`, value: at(payload.attention, layer), terms: headsOf(payload, layer) };
  const terms = [...headsOf(payload, layer), ...(payload.mlp ? [mlp(payload, layer)] : [])];
  return { name, title: `layer ${layer}`, value: at(payload.attention, layer) + (payload.mlp ? at(payload.mlp, layer) : 0), terms };
}

/** From the whole to what is opened: the names on the way, which a breadcrumb shows. */
export function pathTo(by: Level, name: string | null): string[] {
  if (!name) return [];
  const [kind, layer] = name.split(".") as [string, string];
  if (kind === "layer" || by === "head") return [name];
  if (by === "layer") return [`layer.${layer}`, name];
  return kind === "head" ? [`attention.${layer}`, name] : [name];
}

// --- how a term came about -------------------------------------------------------------------------
export interface Product {
  factors: { label: string; value: number }[];
  value: number;
}

/** A source's or a neuron's share as the product that it is; null for a term that is none. */
export function product(payload: DirectAttribution, name: string): Product | null {
  const [kind, ...rest] = name.split(".");
  const [layer, unit, source] = rest.map(Number) as [number, number, number];
  if (kind === "source") {
    const [weight, value] = [at(payload.pattern, layer, unit, source), at(payload.sources, layer, unit, source)];
    if (weight === 0) return null;
    return { factors: [{ label: "weight", value: weight }, { label: "(v W_O) · r", value: value / weight }], value };
  }
  if (kind === "neuron" && payload.neurons && payload.activations) {
    const [activation, value] = [at(payload.activations, layer, unit), at(payload.neurons, layer, unit)];
    if (activation === 0) return null;
    return { factors: [{ label: "activation", value: activation }, { label: "w_out · r", value: value / activation }], value };
  }
  return null;
}

// --- the small ones together -----------------------------------------------------------------------
export interface Bar {
  key: string;
  term: Term | null; // null for the small ones together
  count: number;
  value: number;
  bound: number; // the small ones are all at most this far from 0
  start: number;
  end: number;
}

/** The bars of a waterfall: the largest terms, at most `most`, then one for all the others. */
export function barsOf(terms: Term[], order: Order, most: number): Bar[] {
  const ranked = [...terms].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const shown = new Set(ranked.slice(0, terms.length <= most + 1 ? terms.length : most));
  const small = ranked.filter((one) => !shown.has(one));
  const chosen = order === "size" ? ranked.filter((one) => shown.has(one)) : terms.filter((one) => shown.has(one));
  const bars: Bar[] = [];
  let sum = 0;
  const add = (key: string, one: Term | null, count: number, value: number, bound: number) => {
    bars.push({ key, term: one, count, value, bound, start: sum, end: sum + value });
    sum += value;
  };
  for (const one of chosen) add(one.name, one, 1, one.value, 0);
  if (small.length > 0) {
    add("small", null, small.length, small.reduce((total, one) => total + one.value, 0), Math.abs(small[0]!.value));
  }
  return bars;
}

/** Axis ticks of a round step, the ends of what is drawn included in the domain. */
export function domainOf(bars: Bar[], more: number[]): [number, number] {
  const ends = [0, ...more, ...bars.flatMap(({ start, end }) => [start, end])];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low || 1) * 0.03;
  return [low === 0 ? 0 : low - room, high === 0 ? 0 : high + room];
}
