// The numbers of a frame by the place they stand at.

import type { Details, Frame, NdArray, Setting } from "../../generated/payloads";
import type { Edge } from "./geometry";
import { readPlace } from "./naming";

/** A weight or bias of the frame; NaN for a place that is none. */
export function parameter(frame: Pick<Frame, "weights" | "biases">, place: string): number {
  return at(frame.weights, frame.biases, place);
}

/** The gradient of a weight or bias. */
export function gradient(details: Pick<Details, "gradients" | "bias_gradients">, place: string): number {
  return at(details.gradients, details.bias_gradients, place);
}

function at(matrices: NdArray<Float64Array>[], vectors: NdArray<Float64Array>[], place: string): number {
  const found = readPlace(place);
  if (!found || found.kind === "unit") return NaN;
  if (found.kind === "bias") return vectors[found.layer - 1]?.data[found.to] ?? NaN;
  const matrix = matrices[found.layer - 1];
  if (!matrix || found.to >= matrix.shape[1]! || found.from! >= matrix.shape[0]!) return NaN;
  return matrix.data[found.from! * matrix.shape[1]! + found.to]!;
}

export function edgeValue(frame: Pick<Frame, "weights" | "biases">, edge: Edge): number {
  if (edge.from < 0) return frame.biases[edge.layer - 1]!.data[edge.to]!;
  const matrix = frame.weights[edge.layer - 1]!;
  return matrix.data[edge.from * matrix.shape[1]! + edge.to]!;
}

/** Whether a place is one of this network's. */
export function exists(layers: number[], place: string | undefined): place is string {
  const found = place === undefined ? null : readPlace(place);
  if (!found || found.layer >= layers.length || found.to >= layers[found.layer]!) return false;
  if (found.kind === "unit") return true;
  return found.layer > 0 && (found.from ?? 0) < layers[found.layer - 1]!;
}

/** The index of a unit among all units, layer after layer. */
export function unitIndex(layers: number[], layer: number, unit: number): number {
  let before = 0;
  for (let i = 0; i < layer; i++) before += layers[i]!;
  return before + unit;
}

/** The largest size of a weight or bias. */
export function largest(frame: Pick<Frame, "weights" | "biases">): number {
  let most = 0;
  for (const { data } of [...frame.weights, ...frame.biases]) {
    for (let i = 0; i < data.length; i++) {
      const size = Math.abs(data[i]!);
      if (size > most && size < Infinity) most = size;
    }
  }
  return most;
}

/** The edges of a layer whose weights are largest, at most `most` of them. */
export function strongest(frame: Pick<Frame, "weights" | "biases">, edges: Edge[], most: number): Edge[] {
  if (edges.length <= most) return edges;
  const sizes = Float64Array.from(edges, (edge) => Math.abs(edgeValue(frame, edge)));
  const least = sizes.slice().sort()[sizes.length - most]!;
  return edges.filter((_, i) => sizes[i]! >= least).slice(0, most);
}

/** A sample's class, or NaN where it has values. */
export function classOf(setting: Setting, sample: number): number {
  return setting.task === "classes" ? setting.targets.data[sample * setting.targets.shape[1]!]! : NaN;
}

/** What an output is above which the second of two classes is decided for, and how far it reaches. */
export function scaleOf(setting: Setting): { middle: number; reach: number } {
  if (setting.task === "regression") {
    let most = 0;
    for (const value of setting.targets.data) most = Math.max(most, Math.abs(value));
    return { middle: 0, reach: most || 1 };
  }
  const { loss, activations } = setting.config;
  const symmetric = loss === "hinge" || activations.at(-1) === "tanh";
  return symmetric ? { middle: 0, reach: 1 } : { middle: 0.5, reach: 0.5 };
}
