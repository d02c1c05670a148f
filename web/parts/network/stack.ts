// The parts of what is minimized, one on the other; what is taken off lies below zero.

import type { Line } from "./curves";

export type PartName = "data" | "l1" | "l2" | "confidence";

export interface Part {
  name: PartName;
  title: string;
  colour: string;
  steps: number[];
  low: number[];
  high: number[];
  edge: number[]; // the side away from zero, where its name stands
}

const LOOKS: Record<PartName, { title: string; colour: string }> = {
  data: { title: "loss", colour: "var(--accent)" },
  l1: { title: "L1", colour: "var(--category-3)" },
  l2: { title: "L2", colour: "var(--category-6)" },
  confidence: { title: "confidence", colour: "var(--key)" },
};

/** The parts that are not zero throughout, with the room each takes in the stack. All have the steps of the loss. */
export function stacked(lines: Record<PartName, Line>): Part[] {
  const steps = lines.data.steps;
  const above = new Float64Array(steps.length);
  const below = new Float64Array(steps.length);
  const found: Part[] = [];
  for (const name of Object.keys(LOOKS) as PartName[]) {
    const { values } = lines[name];
    if (name !== "data" && !values.some((value) => value !== 0 && Number.isFinite(value))) continue;
    const low: number[] = [];
    const high: number[] = [];
    const edge: number[] = [];
    steps.forEach((_, i) => {
      const value = values[i] ?? NaN;
      const side = value < 0 ? below : above;
      const from = side[i]!;
      const to = from + value;
      if (Number.isFinite(value)) side[i] = to;
      low.push(Math.min(from, to));
      high.push(Math.max(from, to));
      edge.push(to);
    });
    found.push({ name, ...LOOKS[name], steps, low, high, edge });
  }
  return found;
}
