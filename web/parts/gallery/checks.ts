// The checks of a map as curves.

import type { AttributionChecks } from "../../generated/payloads";
import type { Drawing } from "../curves";

export function randomDrawing(checks: AttributionChecks): Drawing {
  const n = Math.max(2, checks.randomized.length);
  return {
    x: Array.from({ length: n }, (_, i) => i),
    curves: [
      { name: "with its sign", values: checks.spearman.data, colour: "--accent", width: 2 },
      { name: "in size", values: checks.spearman_absolute.data, colour: "--negative", dash: "4 3" },
    ],
    levels: [{ name: "unrelated", value: 0, dash: "2 3" }],
    domain: [Math.min(-0.25, ...checks.spearman.data), 1],
    ticks: [0, 0.5, 1],
    xTicks: checks.randomized.map((_, i) => ({ at: i, label: i === 0 ? "trained" : i === checks.randomized.length - 1 ? "all" : String(i) })),
    xTitle: "how far down weights are random",
  };
}

export function takenDrawing(checks: AttributionChecks): Drawing {
  const all = [checks.deletion, checks.insertion, checks.deletion_random, checks.insertion_random].flatMap(({ data }) => [...data]);
  const probability = checks.measure.startsWith("probability");
  const [low, high] = probability ? [0, 1] : [Math.min(0, ...all), Math.max(0, ...all)];
  const step = (high - low) / 4 || 1;
  return {
    x: [...checks.share.data],
    curves: [
      { name: "deletion", values: checks.deletion.data, colour: "--negative", width: 2 },
      { name: "insertion", values: checks.insertion.data, colour: "--accent", width: 2 },
      { name: "deletion, random", values: checks.deletion_random.data, colour: "--negative", dash: "3 3" },
      { name: "insertion, random", values: checks.insertion_random.data, colour: "--accent", dash: "3 3" },
    ],
    domain: [low, high],
    ticks: probability ? [0, 0.5, 1] : Array.from({ length: 5 }, (_, i) => Number((low + i * step).toPrecision(2))),
    xTicks: [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, label: `${100 * at} %` })),
    xTitle: "of the pixels, the strongest first",
  };
}
