import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Algebra, Branch, Config, Equation, SweepGrid, Tree } from "../generated/payloads";
import { grouped } from "../parts/network/algebra";
import { apart, domain, full, roundUp, ticks, tickText } from "../parts/network/axis";
import { differences, results } from "../parts/network/compare";
import { ancestry, lineage, longest, valueAt } from "../parts/network/curves";
import { BARS, flagged, histogram, reach } from "../parts/network/histogram";
import { math, parts } from "../parts/network/math";
import { branchName, readPlace, say } from "../parts/network/naming";
import { stacked } from "../parts/network/stack";
import { best, configOf, readValues, SWEEPABLE } from "../parts/network/sweep";

const f32 = (...values: number[]) => ({ data: Float32Array.from(values), shape: [values.length] });
const none = f32(NaN, NaN, NaN);
const config = { layers: [2, 4, 1], learning_rate: 0.3, l2: 0, clip: null, optimizer: "sgd", activations: ["tanh", "sigmoid"] } as unknown as Config;
function branch(id: number, parent: number | null, start: number, steps: number[], train: number[], more: Partial<Branch> = {}): Branch {
  return {
    id, parent, start, tip: steps.at(-1)!, label: "", config, steps: { data: Int32Array.from(steps), shape: [steps.length] },
    train: f32(...train), test: none, train_accuracy: none, test_accuracy: none, confidence: none, l1: none, l2: none, ...more,
  };
}
const tree: Tree = {
  branches: [branch(0, null, 0, [0, 10, 20, 30], [8, 4, 2, 1]), branch(1, 0, 20, [20, 30, 40], [2, 0.5, 0.25]), branch(2, 1, 30, [30, 60], [0.5, 0.125])],
  branch: 2, step: 60,
};

test("a branch's curve is its ancestors' up to where each was left, and every step stands there once", () => {
  expect(ancestry(tree, 2).map((one) => one.id)).toEqual([0, 1, 2]);
  expect(lineage(tree, 2, "train")).toEqual({ steps: [0, 10, 20, 30, 60], values: [8, 4, 2, 0.5, 0.125] });
  expect(lineage(tree, 0, "train").steps).toEqual([0, 10, 20, 30]);
  expect(longest(tree)).toBe(60);
});

test("a curve says the last value at or before a step", () => {
  const line = lineage(tree, 2, "train");
  expect([0, 9, 10, 45, 1000].map((step) => valueAt(line, step))).toEqual([8, 8, 4, 0.5, 0.125]);
  expect(valueAt(line, -1)).toBeNaN();
});

test("axes end at round numbers", () => {
  expect([0.3, 0.5, 1.01, 7, 1e-9, 5e-324].map(roundUp)).toEqual([0.5, 0.5, 2, 10, 1e-9, 1e-300]);
  expect(domain([0.2, 3, NaN, Infinity], false)).toEqual([0, 5]);
  expect(domain([-0.3, 0.2], false)).toEqual([-0.5, 0.2]);
  expect(domain([], false)).toEqual([0, 1]);
  const [low, high] = domain([0.03, 0.7, 0, -1], true);
  expect(low).toBeCloseTo(0.02, 12);
  expect(high).toBeCloseTo(1, 12);
  expect(domain([1e-30, 1], true)[0]).toBe(1e-12);
});

test("ticks of a logarithm are powers of ten, with 2 and 5 between where there are few", () => {
  expect(ticks([0.02, 0.5], true, 5)).toEqual([0.02, 0.05, 0.1, 0.2, 0.5]);
  expect(ticks([1e-6, 1], true, 4)).toEqual([1e-6, 1e-4, 1e-2, 1]);
  expect([0, 0.05, 0.3, 12000, 1e-6, 2e-7, -0.5, 1_500_000].map(tickText)).toEqual(["0", "0.05", "0.3", "12k", "10⁻⁶", "2×10⁻⁷", "−0.5", "1.5M"]);
});

test("names at the ends of lines are moved apart, in their order and within the picture", () => {
  const placed = apart([50, 52, 10, 99], 14, 0, 100);
  expect(placed).toEqual([50, 64, 10, 99]);
  const tight = apart([98, 99, 100], 14, 0, 100);
  expect(tight).toEqual([72, 86, 100]);
});

test("a float64 in full", () => {
  expect(full(0.1 + 0.2)).toBe("0.30000000000000004");
  expect(full(-1e-9)).toBe("−1e−9");
});

test("no bar of a histogram mixes the signs, and none loses a number", () => {
  const most = reach([-0.4, 0.2, NaN], [0.1]);
  expect(most).toBe(0.5);
  const { counts, outside, total } = histogram([-0.4, -1e-12, 0, 1e-12, 0.5, NaN, -0.5], most);
  expect(counts.reduce((a, b) => a + b)).toBe(6);
  expect(counts[BARS / 2 - 1]).toBe(1);
  expect(counts[BARS / 2]).toBe(2);
  expect([counts[0], counts[BARS - 1], outside, total]).toEqual([1, 1, 1, 7]);
  expect(flagged(Uint8Array.of(0, 1, 1), 0)).toEqual(["u1.1", "u1.2"]);
});

test("places are read, and named by the inputs and classes they stand for", () => {
  expect(readPlace("w2.13.0")).toEqual({ kind: "weight", layer: 2, from: 13, to: 0 });
  expect([readPlace("w1.0"), readPlace("u1.0.2"), readPlace("x1.0"), readPlace("")]).toEqual([null, null, null, null]);
  const names = { features: ["x", "xy"], classes: ["red", "green"], config: { ...config, layers: [2, 4, 2] } };
  expect(say("w1.1.3", names)).toBe("weight from xy to unit 1.3");
  expect(say("b2.1", names)).toBe("bias of output green");
  expect(say("u2.0", { ...names, config })).toBe("output");
  expect(say("u0.1")).toBe("input 1");
  expect(say("elsewhere")).toBe("elsewhere");
  expect(branchName({ label: "learning_rate 0.3 → 0.1; l2 0 → 0.01; w1.0.2 = 3" })).toBe("learning rate 0.3 → 0.1; L2 0 → 0.01; w1.0.2 = 3");
});

test("a line is cut before its result, never inside brackets", () => {
  expect(parts("= 0.5\\cdot 2 = 1.0")).toEqual({ left: "= 0.5\\cdot 2", result: "1.0" });
  expect(parts("a = \\sum_{i=0}^{3} x_{i=1} = 7")).toEqual({ left: "a = \\sum_{i=0}^{3} x_{i=1}", result: "7" });
  expect(parts("y = \\left(a = b\\right)")).toEqual({ left: "y", result: "\\left(a = b\\right)" });
  expect(parts("x + 1")).toEqual({ left: "x + 1", result: "" });
});

test("rows that were broken for one width become one line, and the rows of cases stay", () => {
  const rows = "\\begin{aligned}&= 1+2\\\\ &\\quad +3\\\\ &= 6\\end{aligned}";
  expect(parts(rows).left.replace(/\s+/g, " ")).toBe("= 1+2 +3");
  expect(parts(rows).result).toBe("6");
  const cases = parts("\\begin{aligned}&= \\begin{cases}1 & a=b\\\\ 2 & \\text{otherwise}\\end{cases}\\\\ &= 1\\end{aligned}");
  expect(cases.left).toContain("1 & a=b\\\\ 2 & \\text");
  expect(cases.result).toBe("1");
});

test("LaTeX is set once, wrong LaTeX is shown as it is written, and nothing of it runs", () => {
  expect(math("\\delta^{(1)}_{0}")).toContain("katex");
  expect(math("\\delta^{(1)}_{0}")).toBe(math("\\delta^{(1)}_{0}"));
  const wrong = math("\\frac{1}{");
  expect(wrong).toContain("katex-error");
  expect(math('\\href{javascript:alert(1)}{x}')).not.toContain("<a ");
});

const equation = (id: string, section: Equation["section"], layer: number): Equation => ({
  id, section, layer, unit: 0, sample: 0, title: id, symbolic: "a", numeric: "= 1 = 1", text: "1", result: "1", value: 1, places: [`u${layer}.0`], check: null,
});

test("equations come by section in the order of the computation, their layers named where they change", () => {
  const algebra = { step: 0, samples: [0], sample: 0, left_out: 0, equations: [
    equation("u", "update", 1), equation("a", "forward", 1), equation("b", "forward", 1), equation("c", "forward", 2), equation("l", "loss", 2), equation("m", "loss", -1), equation("n", "loss", 2),
  ] } as Algebra;
  const groups = grouped(algebra);
  expect(groups.map(({ section, count }) => `${section} ${count}`)).toEqual(["forward 3", "loss 3", "update 1"]);
  expect(groups[0]!.layers.map(({ layer, named, equations }) => [layer, named, equations.length])).toEqual([[1, true, 2], [2, true, 1]]);
  expect(groups[1]!.layers.some(({ named }) => named)).toBe(false);
  expect(grouped(algebra, ({ id }) => id === "c").map(({ section }) => section)).toEqual(["forward"]);
});

test("parts of the loss are stacked, and what is taken off lies below zero", () => {
  const line = (...values: number[]) => ({ steps: [0, 1], values });
  const parts = stacked({ data: line(1, 0.5), l1: line(0, 0), l2: line(0.25, 0.25), confidence: line(-0.1, -0.2) });
  expect(parts.map(({ name }) => name)).toEqual(["data", "l2", "confidence"]);
  expect(parts[1]).toMatchObject({ low: [1, 0.5], high: [1.25, 0.75], edge: [1.25, 0.75] });
  expect(parts[2]).toMatchObject({ low: [-0.1, -0.2], high: [0, 0], edge: [-0.1, -0.2] });
});

test("what differs between branches, and which came out best", () => {
  const other = branch(1, 0, 20, [20, 30], [2, 0.5], { config: { ...config, learning_rate: 0.1, clip: 1 } as Config });
  const pair = [tree.branches[0]!, other];
  expect(differences(pair).map(({ name, cells }) => [name, ...cells.map(({ text }) => text)])).toEqual([["learning rate", "0.3", "0.1"], ["clip", "none", "1"]]);
  expect(results(pair).map(({ name, cells }) => [name, ...cells.map(({ text, best }) => text + (best ? "*" : ""))])).toEqual([["steps", "30", "30"], ["training loss", "1.00", "0.500*"]]);
  expect(differences([other])).toEqual([]);
});

test("values of a sweep are read, and each mistake is named", () => {
  const setting = (name: string) => SWEEPABLE.find((one) => one.name === name)!;
  expect(readValues("0.1, 0.3;1e-3", setting("learning_rate"))).toEqual([0.1, 0.3, 0.001]);
  expect(readValues("2..5", setting("seed"))).toEqual([2, 3, 4, 5]);
  expect(readValues(" ", setting("l2"))).toMatch(/at least one/);
  expect(readValues("0.1 abc", setting("l2"))).toBe("“abc” is no number.");
  expect(readValues("0", setting("learning_rate"))).toMatch(/more than 0/);
  expect(readValues("-1", setting("l2"))).toMatch(/at least 0/);
  expect(readValues("101", setting("l2"))).toMatch(/at most 100/);
  expect(readValues("1", setting("momentum"))).toMatch(/less than 1/);
  expect(readValues("1.5", setting("seed"))).toMatch(/whole number/);
  expect(readValues("1 1.0", setting("l2"))).toMatch(/twice/);
  expect(readValues("0..100000", setting("seed"))).toMatch(/more than 256/);
});

test("what the page offers to sweep is what the engine sweeps", () => {
  const engine = readFileSync(`${import.meta.dirname}/../../src/llm_workings/playground/sweep.py`, "utf-8");
  const [, table] = /^SWEPT[^\n]*\{\n([^]*?)^\}/m.exec(engine)!;
  const swept = [...table!.matchAll(/^ {4}"(\w+)"/gm)].map(([, name]) => name);
  expect(swept.length).toBeGreaterThan(10);
  expect(SWEEPABLE.map(({ name }) => name)).toEqual(swept);
});

test("the usual values of every setting of a sweep are values it takes", () => {
  for (const setting of SWEEPABLE) expect(readValues(setting.usual, setting), setting.name).toBeInstanceOf(Array);
});

test("the best of a sweep: lowest loss, highest accuracy, never one that diverged", () => {
  const grid = {
    rows: "learning_rate", row_values: [0.1, 1], columns: "l2", column_values: [0, 0.01],
    train: { data: Float32Array.of(NaN, 0.5, 0.25, 1), shape: [2, 2] }, test: { data: Float32Array.of(NaN, NaN, NaN, NaN), shape: [2, 2] },
    train_accuracy: { data: Float32Array.of(0.5, 0.9, 0.8, NaN), shape: [2, 2] },
  } as unknown as SweepGrid;
  expect(best(grid, "train")).toEqual({ row: 1, column: 0 });
  expect(best(grid, "train_accuracy")).toEqual({ row: 0, column: 1 });
  expect(best(grid, "test")).toBeNull();
  expect(configOf(config, grid, 1, 1)).toMatchObject({ learning_rate: 1, l2: 0.01, optimizer: "sgd" });
  expect(configOf(config, { ...grid, columns: "" }, 0, 0)).toMatchObject({ learning_rate: 0.1, l2: 0 });
});
