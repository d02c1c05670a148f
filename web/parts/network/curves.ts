// The tree's curves: a branch together with what came before it, and what they say at a step.

import type { Branch, Tree } from "../../generated/payloads";

export type Measure = "train" | "test" | "train_accuracy" | "test_accuracy" | "confidence" | "l1" | "l2";

export interface Line {
  steps: number[];
  values: number[];
}

/** The branches that lead to `id`, the first one first and it itself last. */
export function ancestry(tree: Tree, id: number): Branch[] {
  const found: Branch[] = [];
  let at: number | null = id;
  while (at !== null && found.length <= tree.branches.length) {
    const branch: Branch | undefined = tree.branches.find((one) => one.id === at);
    if (!branch) break;
    found.unshift(branch);
    at = branch.parent;
  }
  return found;
}

/** A curve from step 0 to the branch's tip: of each ancestor the part before the next one left it. */
export function lineage(tree: Tree, id: number, measure: Measure): Line {
  const line: Line = { steps: [], values: [] };
  const chain = ancestry(tree, id);
  chain.forEach((branch, i) => {
    const next = chain[i + 1];
    const until = next ? Math.min(next.start, (next.steps.data[0] ?? Infinity) - 1) : Infinity;
    for (let k = 0; k < branch.steps.data.length && branch.steps.data[k]! <= until; k++) {
      line.steps.push(branch.steps.data[k]!);
      line.values.push(branch[measure].data[k]!);
    }
  });
  return line;
}

/** One branch's own points. */
export function own(branch: Branch, measure: Measure): Line {
  return { steps: Array.from(branch.steps.data), values: Array.from(branch[measure].data) };
}

/** The last value at or before a step; NaN before the first. */
export function valueAt(line: { steps: ArrayLike<number>; values: ArrayLike<number> }, step: number): number {
  let low = 0;
  let high = line.steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (line.steps[middle]! <= step) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? NaN : line.values[low - 1]!;
}

export function finite(values: ArrayLike<number>): number[] {
  return Array.from(values).filter(Number.isFinite);
}

/** The last step of any branch. */
export function longest(tree: Tree): number {
  return Math.max(1, ...tree.branches.map((branch) => branch.tip));
}
