// How heads and positions are written in the state: "7.3,8.1".

import type { Head, HeadRef } from "../generated/payloads";

export function writeHeads(heads: HeadRef[]): string {
  return heads.map(({ layer, head }) => `${layer}.${head}`).join(",");
}

/** The heads that `text` names and the model has; the rest is left out. */
export function readHeads(text: string | undefined, layers: number, heads: number): HeadRef[] {
  const found = [...(text ?? "").matchAll(/(\d+)\.(\d+)/g)].map(([, l, h]) => ({ layer: Number(l), head: Number(h) }));
  return found.filter(({ layer, head }) => layer < layers && head < heads);
}

/** A whole number below `limit`, or null. */
export function readIndex(text: string | undefined, limit: number): number | null {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : NaN;
  return value < limit ? value : null;
}

/** The weight that query gives to key; 0 where a causal query cannot see. */
export function weight(head: Head, query: number, key: number): number {
  return head.causal && key > query ? 0 : head.pattern.data[entry(head, query, key)]!;
}

/** Where a pair stands in a head's entries. */
export function entry(head: Head, query: number, key: number): number {
  return head.causal ? (query * (query + 1)) / 2 + key : query * head.tokens.length + key;
}

export const same = (a: HeadRef, b: HeadRef): boolean => a.layer === b.layer && a.head === b.head;
