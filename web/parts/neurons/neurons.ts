// How neurons are named in the state, and how activations are shaded.

import type { NeuronRef } from "../../generated/payloads";

export const nameOf = ({ layer, neuron }: NeuronRef): string => `${layer}.${neuron}`;

/** The neuron that `text` names ("21.780"), if the model has it. */
export function readNeuron(text: string | undefined, layers: number, width: number): NeuronRef | null {
  const found = /^(\d+)\.(\d+)$/.exec(text ?? "");
  if (!found) return null;
  const [layer, neuron] = [Number(found[1]), Number(found[2])];
  return layer < layers && neuron < width ? { layer, neuron } : null;
}

/** The largest |value|, NaN left out; at least a little above 0, so that one can divide by it. */
export function largest(values: ArrayLike<number>, from = 0): number {
  let most = 1e-12;
  for (let i = from; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!) || 0);
  return most;
}

/** Where |value| is largest, from `from` on. */
export function furthest(values: ArrayLike<number>, from = 0): number {
  let at = Math.min(from, values.length - 1);
  for (let i = from; i < values.length; i++) if (Math.abs(values[i]!) > Math.abs(values[at]!)) at = i;
  return at;
}

/** One row of a matrix that came over the wire. */
export function rowOf({ data, shape }: { data: Float32Array; shape: number[] }, row: number): Float32Array {
  const width = shape[1]!;
  return data.subarray(row * width, (row + 1) * width);
}

/** The background of a token whose activation is `value`: blue above 0, orange below and dashed beneath. */
export function shade(value: number, most: number): string {
  if (Number.isNaN(value)) return "";
  const share = Math.min(1, Math.abs(value) / most);
  const colour = value < 0 ? "var(--negative)" : "var(--positive)";
  const under = share > 0.08 ? `border-bottom-color: ${colour}; border-bottom-style: ${value < 0 ? "dashed" : "solid"};` : "";
  return `background: color-mix(in srgb, ${colour} ${Math.round(42 * Math.sqrt(share))}%, transparent); ${under}`;
}

/** The parts of a page that belong to one column of tokens: margins and cell widths that line up. */
export interface Columns {
  left: number;
  wide: number;
}

export function columnsOf(room: number, tokens: number): Columns {
  const left = room < 560 ? 84 : 148;
  return { left, wide: Math.max(52, Math.min(112, Math.floor((room - left - 2) / tokens))) };
}
