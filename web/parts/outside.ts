// What an address names that is not there: a head, a layer, a position of a text.

import type { State } from "../hosts/contract";

export interface Outside {
  /** What is not there and what is, in words. */
  said: string;
  /** The state without it. */
  without: Record<string, string | null>;
}

interface OfAModel {
  model?: { n_layers?: number; n_heads?: number };
  tokens?: unknown[];
}

const HEADS = ["pin", "ablate"];
const POSITIONS = ["position", "query", "key"];

/** Null where all is there, and for pictures that are of no language model. */
export function outside(payload: unknown, state: State): Outside | null {
  const { model, tokens } = payload as OfAModel;
  if (model?.n_layers === undefined || model.n_heads === undefined) return null;
  const { n_layers: layers, n_heads: heads } = model;
  const missing: string[] = [];
  const without: Record<string, string | null> = {};
  for (const key of HEADS) {
    const named = state[key]?.match(/\d+\.\d+/g) ?? [];
    const there = named.filter((one) => Number(one.split(".")[0]) < layers && Number(one.split(".")[1]) < heads);
    if (there.length === named.length) continue;
    missing.push(...named.filter((one) => !there.includes(one)).map((one) => `head ${one}`));
    without[key] = there.join(",") || null;
  }
  if (/^\d+$/.test(state.layer ?? "") && Number(state.layer) >= layers) {
    missing.push(`layer ${state.layer}`);
    without.layer = null;
  }
  const has: string[] = missing.length ? [`Layers go from 0 to ${layers - 1}, heads from 0 to ${heads - 1}.`] : [];
  for (const key of tokens ? POSITIONS : []) {
    if (!/^\d+$/.test(state[key] ?? "") || Number(state[key]) < tokens!.length) continue;
    missing.push(`position ${state[key]}`);
    without[key] = null;
  }
  if (POSITIONS.some((key) => key in without)) has.push(`The text's positions go from 0 to ${tokens!.length - 1}.`);
  return missing.length ? { said: `Not there: ${[...new Set(missing)].join(", ")}. ${has.join(" ")}`, without } : null;
}
