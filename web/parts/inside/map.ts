// What the map's payload says of one layer, and its charts.

import type { ActivationMap, Foretold } from "../../generated/payloads";
import type { Drawing } from "../curves";
import { axisOf } from "./adversary";

/** Where each picture stands in a layer's plane, from 0 to 1 with the same scale both ways: x then y. */
export function placed({ flat, n }: ActivationMap, layer: number): Float32Array {
  const from = flat.data.subarray(layer * n * 2, (layer + 1) * n * 2);
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let i = 0; i < from.length; i++) {
    low[i % 2] = Math.min(low[i % 2]!, from[i]!);
    high[i % 2] = Math.max(high[i % 2]!, from[i]!);
  }
  const span = Math.max(high[0]! - low[0]!, high[1]! - low[1]!) || 1;
  return from.map((value, i) => {
    const axis = i % 2;
    const to = 0.5 + (value - (low[axis]! + high[axis]!) / 2) / span;
    return axis ? 1 - to : to;
  });
}

export function ladder(payload: ActivationMap): Drawing {
  const low = Math.min(0, ...[...payload.silhouette.data, ...payload.agreement.data].filter(Number.isFinite));
  return {
    ...axisOf(payload.layers), domain: [low - 0.04, 1.04], ticks: [0, 0.25, 0.5, 0.75, 1],
    curves: [
      { name: "linear probe", values: payload.separability.data, colour: "--positive", width: 2.5 },
      { name: "clusters agree", values: payload.agreement.data, colour: "--negative", width: 2, dash: "6 3" },
      { name: "silhouette", values: payload.silhouette.data, colour: "--query", width: 2, dash: "2 3" },
    ],
    levels: Number.isFinite(payload.majority) ? [{ name: "chance of the probe", value: payload.majority, dash: "1 4" }] : [],
  };
}

export function errors(payload: ActivationMap, foretold: Foretold): Drawing {
  const low = Math.min(0.45, ...foretold.by_layer.data, ...foretold.shuffled.data) - 0.04;
  return {
    ...axisOf(payload.layers), domain: [low, 1.02], ticks: [0.25, 0.5, 0.75, 1].filter((tick) => tick >= low),
    curves: [
      { name: "probe of the layer", values: foretold.by_layer.data, colour: "--positive", width: 2.5 },
      { name: "shuffled labels", values: foretold.shuffled.data, colour: "--ink-soft", dash: "2 3" },
    ],
    levels: [{ name: "the answer's doubt", value: foretold.doubt, dash: "7 4" }],
  };
}

/** In words, what the probe for errors adds to the answer's doubt. */
export function foretoldInWords({ layers }: ActivationMap, foretold: Foretold): string {
  let at = 0;
  foretold.by_layer.data.forEach((value, i) => {
    if (value > foretold.by_layer.data[at]!) at = i;
  });
  const [best, doubt] = [foretold.by_layer.data[at]!, foretold.doubt];
  const much = best > doubt + 0.03 ? "more than the answer itself lets on" : best < doubt - 0.03 ? "less than the answer's own doubt: nothing is gained by looking inside" : "no more than the answer's own doubt does";
  return `With noise of ${foretold.noise} a pixel it gets ${foretold.wrong} of ${foretold.n} wrong. The best probe, at ${layers[at]}, foretells that with an AUROC of ${best.toFixed(2)}, the answer's doubt with ${doubt.toFixed(2)}: ${much}. Shuffled labels reach ${Math.max(...foretold.shuffled.data).toFixed(2)}, by chance.`;
}
