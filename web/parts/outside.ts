// What an address names that is not there: a head, a layer, a position of a text.

import type { State } from "../hosts/contract";
import { readHeads, readIndex, same, writeHeads } from "./heads";

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
    const there = readHeads(state[key], layers, heads);
    const gone = readHeads(state[key], Infinity, Infinity).filter((one) => !there.some((other) => same(one, other)));
    if (gone.length === 0) continue;
    missing.push(...gone.map((one) => `head ${writeHeads([one])}`));
    without[key] = writeHeads(there) || null;
  }
  if (isBeyond(state.layer, layers)) {
    missing.push(`layer ${state.layer}`);
    without.layer = null;
  }
  const has: string[] = missing.length ? [`Layers go from 0 to ${layers - 1}, heads from 0 to ${heads - 1}.`] : [];
  for (const key of tokens ? POSITIONS : []) {
    if (!isBeyond(state[key], tokens!.length)) continue;
    missing.push(`position ${state[key]}`);
    without[key] = null;
  }
  if (POSITIONS.some((key) => key in without)) has.push(`The text's positions go from 0 to ${tokens!.length - 1}.`);
  return missing.length ? { said: `Not there: ${[...new Set(missing)].join(", ")}. ${has.join(" ")}`, without } : null;
}

const isBeyond = (text: string | undefined, limit: number): boolean => readIndex(text, Infinity) !== null && readIndex(text, limit) === null;
