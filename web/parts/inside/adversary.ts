// What the adversary's payload says, layer by layer: medians and bands over the set, curves, counts.

import { scaleLinear } from "d3-scale";
import type { Adversary } from "../../generated/payloads";
import type { Drawing } from "../curves";
import { three } from "../numbers";

const ticks = (low: number, high: number, count: number): number[] => scaleLinear([low, high], [0, 1]).ticks(count);

/** The value below which a share of them lies; NaN of none. */
export function quantile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  if (!sorted.length) return NaN;
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at % 1);
}

export const row = (values: Float32Array, at: number, n: number): Float32Array => values.subarray(at * n, (at + 1) * n);

/** Of a side (0: clean, 1: misleading), the strangeness of the set at a layer. */
export const strangenessAt = ({ strangeness, done, layers }: Adversary, side: number, layer: number): Float32Array =>
  row(strangeness.data, side * layers.length + layer, done);

/** How often the largest change is to be enlarged to fill the range: a round number. */
export function enlargement({ change }: Adversary): number {
  let most = 0;
  for (const value of change.data) most = Math.max(most, Math.abs(value));
  return most > 0 ? Math.max(1, Math.floor(0.5 / most)) : 1;
}

/** The layer that is pinned, by its name; -1 where none is. */
export const layerNamed = ({ layers }: { layers: string[] }, name: string | undefined): number => layers.indexOf(name ?? "");

export function bestLayer({ detection, done, layers }: Adversary): number {
  if (!done) return layers.length - 1;
  let best = 0;
  detection.data.forEach((value, i) => {
    if (value > detection.data[best]!) best = i;
  });
  return best;
}

export const axisOf = (layers: string[]) => {
  const shared = layers.filter((name) => name.startsWith("blocks.")).length > 1 ? "blocks." : "";
  const step = Math.ceil(layers.length / 18);
  return {
    x: layers.map((_, i) => i),
    xTicks: layers.flatMap((name, i) => (i % step === 0 ? [{ at: i, label: shared && name.startsWith(shared) ? name.slice(shared.length) : name }] : [])),
    xTitle: shared ? "after block" : "after layer",
  };
};

export function ways(payload: Adversary): Drawing {
  const { layers, done } = payload;
  const of = (values: Float32Array, share: number) => layers.map((_, i) => quantile(row(values, i, done), share));
  const around = (name: string, values: Float32Array, colour: string, dash: string) => ({
    name, colour, dash, values: of(values, 0.5), low: of(values, 0.1), high: of(values, 0.9),
  });
  const most = Math.max(1e-6, ...payload.own_distance.data, ...payload.own_noise.data, ...(done ? of(payload.distance.data, 0.9) : []));
  return {
    ...axisOf(layers), domain: [0, 1.06 * most], ticks: ticks(0, most, 5),
    curves: [
      { name: "this picture", values: payload.own_distance.data, colour: "--negative", width: 3 },
      { name: "noise on it", values: payload.own_noise.data, colour: "--ink-soft", width: 2, dash: "1 3" },
      ...(done ? [around("the set, misled", payload.distance.data, "--positive", "6 3"), around("the set, noise", payload.noise.data, "--line-strong", "2 3")] : []),
    ],
  };
}

export function detection(payload: Adversary): Drawing {
  const low = Math.min(0.4, ...[payload.baseline, ...payload.detection.data].filter(Number.isFinite).map((value) => value - 0.04));
  return {
    ...axisOf(payload.layers), domain: [low, 1.02], ticks: [0, 0.25, 0.5, 0.75, 1].filter((tick) => tick >= low),
    curves: [{ name: "by strangeness", values: payload.detection.data, colour: "--positive", width: 2.5 }],
    levels: [
      { name: "chance", value: 0.5, dash: "2 4" },
      ...(Number.isFinite(payload.baseline) ? [{ name: "the answer's doubt", value: payload.baseline, dash: "7 4" }] : []),
    ],
  };
}

/** In words, what tells misleading pictures from clean ones. */
export function toldInWords(payload: Adversary): string {
  const at = bestLayer(payload);
  const { baseline, sure } = payload;
  const said = `At ${payload.layers[at]} ${payload.detection.data[at]!.toFixed(2)}, by the answer's doubt ${baseline.toFixed(2)}: `;
  if (payload.fooled < 0.1) return `${said}this attack misleads only ${share(payload.fooled)} of the pictures, so there is little to tell.`;
  const pair = `${three(sure[0])} when clean, ${three(sure[1])} when misled, in the median`;
  if (baseline < 0.5) return `${said}the attack leaves the network as sure as clean pictures do, or surer (its largest probability is ${pair}), so doubt does not tell it.`;
  if (baseline < payload.detection.data[at]! - 0.02) return `${said}the network doubts misled pictures more (its largest probability is ${pair}), but inside they stand out more.`;
  return `${said}the network doubts misled pictures (its largest probability is ${pair}), which tells them as well as looking inside does.`;
}

export const share = (value: number): string => (Number.isFinite(value) ? `${Math.round(100 * value)}%` : "none");

export interface Bar {
  from: number;
  to: number;
  clean: number;
  misled: number;
}

/** Both sides' strangeness at a layer, counted in the same bins, each as wide as the one before times a factor. */
export function bars(payload: Adversary, layer: number, bins = 24): Bar[] {
  const sides = [0, 1].map((side) => strangenessAt(payload, side, layer));
  const all = sides.flatMap((side) => [...side]);
  const [low, high] = [Math.max(1e-9, Math.min(...all)), Math.max(...all)];
  const wide = Math.log(high / low) / bins || 1;
  const edge = (i: number) => low * Math.exp(i * wide);
  const counts = sides.map((side) => {
    const found = Array.from({ length: bins }, () => 0);
    for (const value of side) found[Math.min(bins - 1, Math.max(0, Math.floor(Math.log(value / low) / wide)))]!++;
    return found;
  });
  return Array.from({ length: bins }, (_, i) => ({ from: edge(i), to: edge(i + 1), clean: counts[0]![i]!, misled: counts[1]![i]! }));
}
