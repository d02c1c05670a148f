// The names of stations, and what can be done with one.

import type { Residual, ResidualEdit, StreamStop } from "../../generated/payloads";

export type How = ResidualEdit["how"];
export const HOWS: Record<How, string> = { zero: "zero", mean: "its mean", patch: "the other text's" };

/** `Attention 23`, `MLP 4`, `The embedding`. */
export function nameOf(stop: StreamStop): string {
  return stop.kind === "embed" ? "The embedding" : `${stop.kind === "mlp" ? "MLP" : "Attention"} ${stop.layer}`;
}

/** The index of the stop that a state names, or null. */
export function readStop(payload: Residual, name: string | undefined): number | null {
  const found = payload.stops.findIndex((stop) => stop.name === name);
  return found < 0 ? null : found;
}

export const readHow = (text: string | undefined): How | null => (text !== undefined && text in HOWS ? (text as How) : null);
