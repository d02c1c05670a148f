import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Algebra, Branch, Details, Equation, Finding, Frame, Predictions, Setting, SweepGrid, Tree } from "../generated/payloads";
import AlgebraPanel from "../parts/network/AlgebraPanel.svelte";
import Compare from "../parts/network/Compare.svelte";
import Curves from "../parts/network/Curves.svelte";
import Findings from "../parts/network/Findings.svelte";
import Histograms from "../parts/network/Histograms.svelte";
import HistoryPlot from "../parts/network/HistoryPlot.svelte";
import Paths from "../parts/network/Paths.svelte";
import PredictionTable from "../parts/network/PredictionTable.svelte";
import SweepPanel from "../parts/network/SweepPanel.svelte";
import TreeStrip from "../parts/network/TreeStrip.svelte";

const unmounts: (() => void)[] = [];
let observed: Element[] = [];
let report: (entries: { target: Element; isIntersecting: boolean; boundingClientRect: { height: number } }[]) => void;

beforeEach(() => {
  observed = [];
  vi.stubGlobal("IntersectionObserver", class {
    constructor(callback: typeof report) {
      report = callback;
    }
    observe(element: Element) {
      observed.push(element);
    }
    unobserve(element: Element) {
      observed = observed.filter((one) => one !== element);
    }
    disconnect() {}
  });
});
afterEach(() => {
  for (const done of unmounts.splice(0)) done();
  vi.unstubAllGlobals();
});

function show(component: any, props: Record<string, any>) {
  const target = document.createElement("div");
  document.body.append(target);
  const mounted = mount(component, { target, props });
  flushSync();
  unmounts.push(() => {
    void unmount(mounted);
    target.remove();
  });
  return {
    target,
    text: () => target.textContent!.replace(/\s+/g, " ").trim(),
    all: (selector: string) => [...target.querySelectorAll<HTMLElement>(selector)],
    one: (selector: string) => target.querySelector<HTMLElement>(selector)!,
    button: (name: string) => [...target.querySelectorAll("button")].find((button) => button.textContent!.includes(name))!,
  };
}
function key(element: Element, name: string) {
  element.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  flushSync();
}
function type(input: Element, value: string, event = "input") {
  (input as HTMLInputElement).value = value;
  input.dispatchEvent(new Event(event, { bubbles: true }));
  flushSync();
}

const f32 = (...values: number[]) => ({ data: Float32Array.from(values), shape: [values.length] });
const f64 = (...values: number[]) => ({ data: Float64Array.from(values), shape: [values.length] });
const config = { layers: [2, 2, 1], activations: ["tanh", "sigmoid"], learning_rate: 0.3, l2: 0, optimizer: "sgd", init: "xavier" };
const setting = {
  config, task: "classes", classes: ["no", "yes"], coordinates: ["x", "y"], features: ["x", "y"], image_side: 0, dimensions: 2,
  points: { data: Float32Array.of(0, 0, 0, 1, 1, 0), shape: [3, 2] }, targets: { data: Float32Array.of(0, 1, 1), shape: [3, 1] },
} as unknown as Setting;

function branch(id: number, parent: number | null, start: number, tip: number, label: string, train: number[], more: Partial<Branch> = {}): Branch {
  const steps = train.map((_, i) => start + Math.round((i * (tip - start)) / (train.length - 1)));
  const none = f32(...train.map(() => NaN));
  const zero = f32(...train.map(() => 0));
  return {
    id, parent, start, tip, label, config: config as unknown as Branch["config"], steps: { data: Int32Array.from(steps), shape: [steps.length] },
    train: f32(...train), test: none, train_accuracy: none, test_accuracy: none, confidence: zero, l1: zero, l2: zero, ...more,
  };
}
const tree: Tree = {
  branches: [branch(0, null, 0, 100, "", [1, 0.5, 0.25]), branch(1, 0, 40, 90, "learning_rate 0.3 → 0.1", [0.6, 0.125])],
  branch: 1, step: 60,
};

// --- the algebra ---------------------------------------------------------------------------------
const line = (id: string, section: Equation["section"], places: string[], more: Partial<Equation> = {}): Equation => ({
  id, section, layer: 1, unit: 0, sample: 0, title: `Title of ${id}`, symbolic: "a^{(1)}_{0}", numeric: "= 0.5\\cdot 2 = 1.000", text: "0.5 * 2", result: "1.000", value: 1.0000001, places, check: null, ...more,
});
const algebra: Algebra = {
  step: 7, samples: [4, 9], sample: 1, left_out: 3,
  equations: [
    line("z", "forward", ["u1.0", "w1.0.0", "w1.1.0"]), line("l", "loss", ["u2.0"]),
    line("g", "gradient", ["w1.0.0"], { check: { measured: 0.5, difference: 3.1e-9 } }),
    line("h", "gradient", ["w1.1.0"], { check: { measured: 0.6, difference: 2e-3 } }),
  ],
};
const panel = (more: Record<string, unknown> = {}) =>
  show(AlgebraPanel, { algebra, hovered: null, pinned: null, onhover: vi.fn(), onpin: vi.fn(), setting, ...more });
const all = (isIntersecting: boolean, height = 120) => {
  report(observed.map((target) => ({ target, isIntersecting, boundingClientRect: { height } })));
  flushSync();
};

test("the algebra says its step and sample, section by section", () => {
  const { text, all: each } = panel();
  expect(text()).toContain("step 7 → 8 written out for sample 9, 2 of 2 in the batch");
  expect(each("h3 .name").map((name) => name.textContent)).toEqual(["Forward", "Loss", "Gradient"]);
  expect(text()).toContain("3 lines of other units are left out");
});

test("lines are set when they come near the window, and leave their room when they go", () => {
  const { all: each, one } = panel();
  expect(each(".katex").length).toBe(0);
  expect(one('[data-equation="z"]').textContent).toContain("0.5 * 2 = 1.000");
  report([{ target: observed[0]!, isIntersecting: true, boundingClientRect: { height: 0 } }]);
  flushSync();
  expect(each('[data-equation="z"] .result .katex').length).toBe(1);
  expect(each('[data-equation="l"] .katex').length).toBe(0);
  report([{ target: observed[0]!, isIntersecting: false, boundingClientRect: { height: 121 } }]);
  flushSync();
  expect(each(".katex").length).toBe(0);
  expect(one('[data-equation="z"]').style.height).toBe("120px");
});

test("a line is spoken in plain arithmetic, and its result is exact on hover", () => {
  const { one } = panel();
  all(true);
  expect(one('[data-equation="z"] [role="math"]').getAttribute("aria-label")).toBe("0.5 * 2 = 1.000");
  expect(one('[data-equation="z"] .result').title).toBe("1.0000001");
});

test("a checked derivative says how far it is off, and warns where that is much", () => {
  const { one } = panel();
  expect(one('[data-equation="g"] .check').textContent!.trim()).toBe("✓ checked: differs by 3×10⁻⁹");
  expect(one('[data-equation="g"] .check').classList.contains("wrong")).toBe(false);
  expect(one('[data-equation="h"] .check').textContent!.trim()).toBe("⚠ measured 0.600: differs by 0.002");
  expect(one('[data-equation="h"] .check').classList.contains("wrong")).toBe(true);
});

test("hovering a line shows its place, hovering a place lights its lines, a click pins", () => {
  const onhover = vi.fn();
  const onpin = vi.fn();
  const { one, all: each, text } = panel({ hovered: "w1.0.0", onhover, onpin });
  expect(each(".row.lit").map((row) => row.dataset.equation)).toEqual(["z", "g"]);
  expect(text()).toContain("weight from x to unit 1.0 2 lines");
  one('[data-equation="l"]').dispatchEvent(new Event("pointerenter"));
  expect(onhover).toHaveBeenLastCalledWith("u2.0");
  one('[data-equation="l"]').click();
  expect(onpin).toHaveBeenCalledExactlyOnceWith("u2.0");
});

test("only the lines about what is pinned, where that is wanted", () => {
  const { one, all: each } = panel({ pinned: "w1.1.0" });
  (one('input[type="checkbox"]') as HTMLInputElement).click();
  flushSync();
  expect(each(".row").map((row) => row.dataset.equation)).toEqual(["z", "h"]);
  expect(each(".row.pinned").map((row) => row.dataset.equation)).toEqual(["h"]);
});

test("sections close and open, and the arrow keys pass over what is closed", async () => {
  const { all: each, one } = panel();
  each("h3 button")[1]!.click();
  flushSync();
  expect(each(".row").map((row) => row.dataset.equation)).toEqual(["z", "g", "h"]);
  expect(each("h3 button")[1]!.getAttribute("aria-expanded")).toBe("false");
  expect(each('.row[tabindex="0"]').map((row) => row.dataset.equation)).toEqual(["z"]);
  one('[data-equation="z"]').focus();
  key(one('[data-equation="z"]'), "ArrowDown");
  expect((document.activeElement as HTMLElement).dataset.equation).toBe("g");
  key(one('[data-equation="g"]'), "End");
  expect((document.activeElement as HTMLElement).dataset.equation).toBe("h");
});

test("Enter pins the line's place", () => {
  const onpin = vi.fn();
  const { one } = panel({ onpin });
  key(one('[data-equation="g"]'), "Enter");
  expect(onpin).toHaveBeenCalledExactlyOnceWith("w1.0.0");
});

test("without algebra the panel says what to do, with a button where there is a way", () => {
  const onask = vi.fn();
  const { button } = panel({ algebra: null, onask });
  button("Write out this step").click();
  expect(onask).toHaveBeenCalledOnce();
  expect(panel({ algebra: null }).text()).toContain("Pause the training");
});

// --- curves and history --------------------------------------------------------------------------
test("the curves are read at the step, moved over by keys, and stay within the branch", () => {
  const onseek = vi.fn();
  const { one, text } = show(Curves, { tree, step: 60, branch: 1, onseek });
  const slider = one('[role="slider"]');
  expect(slider.getAttribute("aria-valuetext")).toBe("step 60 of 90; train 0.600");
  expect([slider.getAttribute("aria-valuemin"), slider.getAttribute("aria-valuemax")]).toEqual(["0", "90"]);
  key(slider, "ArrowLeft");
  expect(onseek).toHaveBeenLastCalledWith(1, 59);
  key(slider, "End");
  expect(onseek).toHaveBeenLastCalledWith(1, 90);
  expect(text()).toContain("No penalty is on");
  expect(text()).not.toContain("Accuracy");
});

test("accuracy and the parts of the loss are drawn where there are such", () => {
  const penalized = { ...tree, branch: 0, branches: [{ ...tree.branches[0]!, l2: f32(0.25, 0.25, 0.25), test: f32(1, 1, 1), train_accuracy: f32(0.5, 0.75, 1) }] };
  const { all: each, text } = show(Curves, { tree: penalized, step: 50, branch: 0, onseek: vi.fn() });
  expect(each(".part").map((part) => part.classList[1])).toEqual(["data", "l2"]);
  expect(text()).toContain("train 0.500");
  expect(text()).toContain("accuracy 0.750");
  expect(each('[role="img"]').map((svg) => svg.getAttribute("aria-label")!.split(".")[0])).toEqual(["Loss over steps", "Accuracy over steps", "Parts of the loss, stacked"]);
});

test("a loss that is no number leaves a gap and breaks no axis", () => {
  const broken = { ...tree, branches: [branch(0, null, 0, 100, "", [1, Infinity, NaN])], branch: 0 };
  const { target } = show(Curves, { tree: broken, step: 100, branch: 0, onseek: vi.fn() });
  expect(target.innerHTML).not.toMatch(/NaN|Infinity/);
});

test("the history's tree names its branches and goes to one by the keys", () => {
  const onseek = vi.fn();
  const { one, all: each } = show(TreeStrip, { tree, onseek });
  expect(each(".name").map((name) => name.textContent)).toEqual(["first run", "learning rate 0.3 → 0.1"]);
  expect(each(".loss").map((loss) => loss.textContent)).toEqual(["0.250", "0.125"]);
  const strip = one('[role="application"]');
  key(strip, "ArrowUp");
  expect(onseek).toHaveBeenLastCalledWith(0, 60);
  key(strip, "ArrowRight");
  expect(onseek).toHaveBeenLastCalledWith(1, 61);
  key(strip, "Home");
  expect(onseek).toHaveBeenLastCalledWith(1, 40);
  expect(one("[aria-live]").textContent).toContain("Step 40, learning rate 0.3 → 0.1");
});

test("left of where it began a branch is its parent", () => {
  const onseek = vi.fn();
  const atFork = show(TreeStrip, { tree: { ...tree, step: 40 }, onseek });
  key(atFork.one('[role="application"]'), "ArrowLeft");
  expect(onseek).toHaveBeenLastCalledWith(0, 39);
  const before = show(TreeStrip, { tree: { ...tree, step: 20 }, onseek });
  key(before.one('[role="application"]'), "ArrowRight");
  expect(onseek).toHaveBeenLastCalledWith(0, 21);
});

test("the history of a number says it with its sign and seeks", () => {
  const onseek = vi.fn();
  const series = { place: "w1.1.0", what: "gradient", steps: { data: Int32Array.of(0, 10, 20), shape: [3] }, values: f64(0.5, -0.25, NaN) };
  const { one, text } = show(HistoryPlot, { series, step: 15, onseek, setting });
  expect(text()).toContain("Gradient of the weight from y to unit 1.0");
  expect(one(".now b").textContent).toBe("−0.250");
  key(one('[role="slider"]'), "ArrowLeft");
  expect(onseek).toHaveBeenLastCalledWith(14);
  expect(show(HistoryPlot, { series: null, step: 0, onseek }).text()).toContain("Pin a weight");
});

// --- what the network is --------------------------------------------------------------------------
const frame = { weights: [{ data: Float64Array.of(1, -2, 3, -4), shape: [2, 2] }, { data: Float64Array.of(0.5, NaN), shape: [2, 1] }] } as unknown as Frame;
const details = {
  gradients: [{ data: Float64Array.of(0.1, 0, 0, 0), shape: [2, 2] }, { data: Float64Array.of(0, 0), shape: [2, 1] }], norm: 4, clipped: 0.25,
  dead: [{ data: Uint8Array.of(0, 1), shape: [2] }, { data: Uint8Array.of(0), shape: [1] }], saturated: [{ data: Uint8Array.of(0, 0), shape: [2] }],
  paths: [{ units: [0, 1, 0], strength: 0.5 }, { units: [1, 0, 0], strength: -2 }],
} as unknown as Details;

test("dead units are named and pinned, and weights that are no numbers are counted", () => {
  const onpin = vi.fn();
  const { button, text, all: each } = show(Histograms, { setting, frame, details, onpin });
  button("unit 1.1").click();
  expect(onpin).toHaveBeenCalledExactlyOnceWith("u1.1");
  expect(text()).toContain("1 of them are not numbers any more");
  expect(text()).toContain("length of the gradient 4.00, clipped to 1.00");
  expect(each("svg")[0]!.getAttribute("aria-label")).toBe("Weights of layer 1: 4 numbers within ±5.00, 2 negative; the fullest bar holds 1");
});

test("paths are ranked by size, say their sign, and lead to their units and weights", () => {
  const onpin = vi.fn();
  const { all: each } = show(Paths, { setting, details, hovered: "w1.1.0", onhover: vi.fn(), onpin });
  expect(each("li").map((row) => row.textContent!.replace(/\s+/g, " ").trim())).toEqual(["1 y→1.0→output −2.00", "2 x→1.1→output +0.500"]);
  expect(each("li.lit").length).toBe(1);
  each("li:first-child .stop")[1]!.click();
  expect(onpin).toHaveBeenCalledExactlyOnceWith("w1.1.0");
  expect(each(".bar .negative").length).toBe(1);
});

test("findings say what was seen, what to try and where", () => {
  const onpin = vi.fn();
  const findings: Finding[] = [{ kind: "dead", text: "Unit 1.1 is dead.", advice: "Try leaky ReLU.", places: ["u1.1", "w1.0.1"] }];
  const { button, text } = show(Findings, { findings, onpin, setting });
  expect(text()).toContain("Dead units Unit 1.1 is dead. Try leaky ReLU.");
  button("weight from x to unit 1.1").click();
  expect(onpin).toHaveBeenCalledExactlyOnceWith("w1.0.1");
  expect(show(Findings, { findings: [], onpin }).text()).toBe("Nothing stands out in this training so far.");
});

// --- questions -----------------------------------------------------------------------------------
test("points are typed or picked, asked for together, and mistakes are named", () => {
  const onask = vi.fn();
  const { all: each, one, text, button } = show(PredictionTable, { setting, predictions: null, onask });
  const [x, , sample] = each("input");
  type(x!, "0,5");
  button("Ask").click();
  flushSync();
  expect(onask).toHaveBeenLastCalledWith([[0.5, 0]]);
  type(sample!, "1");
  button("Add").click();
  flushSync();
  expect(onask).toHaveBeenLastCalledWith([[0.5, 0], [0, 1]]);
  type(sample!, "3");
  button("Add").click();
  flushSync();
  expect(one(".problem").textContent).toBe("There is no sample 3. They are numbered 0 to 2.");
  type(x!, "abc");
  button("Ask").click();
  flushSync();
  expect(text()).toContain("“abc” is no number. Write x as 0.5 or −2.");
  expect(onask).toHaveBeenCalledTimes(2);
});

test("answers stand beside the truth of picked samples, and are not shown for other points", () => {
  const predictions = { branch: 0, step: 1200, points: { data: f64(0, 0, 0, 1, 1, 0).data, shape: [3, 2] }, outputs: f64(0.25, 0.75, 0.125), winners: ["no", "yes", "no"] } as unknown as Predictions;
  const { all: each, button, text } = show(PredictionTable, { setting, predictions, onask: vi.fn() });
  button("Ask about the first 3 samples").click();
  flushSync();
  const rows = () => each("tbody tr").map((row) => [...row.querySelectorAll("td")].slice(2, 5).map((cell) => cell.textContent!.replace(/\s+/g, " ").trim()));
  expect(rows()).toEqual([["0.250", "no", "✓ right,no"], ["0.750", "yes", "✓ right,yes"], ["0.125", "no", "✕ wrong, it isyes"]]);
  expect(text()).toContain("Answers of step 1,200.");
  each('[aria-label="Take row 3 away"]')[0]!.click();
  flushSync();
  expect(rows().map(([value]) => value)).toEqual(["…", "…"]);
});

const grid = {
  rows: "learning_rate", row_values: [0.1, 1], columns: "", column_values: [], step: 100, steps: 100,
  train: { data: Float32Array.of(0.5, NaN), shape: [2, 1] }, test: { data: Float32Array.of(NaN, NaN), shape: [2, 1] },
  train_accuracy: { data: Float32Array.of(NaN, NaN), shape: [2, 1] }, test_accuracy: { data: Float32Array.of(NaN, NaN), shape: [2, 1] },
  surfaces: { data: new Int8Array(0), shape: [2, 1, 0, 0] }, surface_scale: 1, curve_steps: { data: Int32Array.of(0, 100), shape: [2] }, curves: { data: Float32Array.of(1, 0.5, 1, NaN), shape: [2, 1, 2] },
} as unknown as SweepGrid;
const sweep = (more: Record<string, unknown>) => show(SweepPanel, { setting, grid: null, working: false, onstart: vi.fn(), onstop: vi.fn(), onopen: vi.fn(), ...more });

test("a sweep starts with the values given, and not with mistaken ones", () => {
  const onstart = vi.fn();
  const { all: each, button, text, one } = sweep({ onstart });
  expect(button("Train").textContent).toContain("Train 20 networks");
  const values = one('[aria-label="Values of learning rate for the rows"]');
  type(values, "0.1 x");
  expect(text()).toContain("“x” is no number.");
  expect(button("Train").disabled).toBe(true);
  type(values, "0.1, 0.2");
  const columns = each("select")[1] as HTMLSelectElement;
  columns.value = "";
  columns.dispatchEvent(new Event("change", { bubbles: true }));
  flushSync();
  button("Train").click();
  expect(onstart).toHaveBeenCalledExactlyOnceWith({ rows: "learning_rate", row_values: [0.1, 0.2], columns: "", column_values: [], steps: 2000 });
});

test("a sweep marks its best, names what diverged, and opens what is clicked", () => {
  const onopen = vi.fn();
  const { all: each } = sweep({ grid, onopen });
  expect(each(".cell").map((cell) => cell.textContent!.replace(/\s+/g, " ").trim())).toEqual([
    "learning rate 0.1, training loss 0.500 best", "learning rate 1, training loss diverged",
  ]);
  each(".cell")[1]!.click();
  expect(onopen).toHaveBeenCalledExactlyOnceWith({ ...config, learning_rate: 1 });
  each(".cell")[0]!.focus();
  key(each(".cell")[0]!, "ArrowDown");
  expect(document.activeElement).toBe(each(".cell")[1]);
});

test("a sweep under way says how far and can be stopped", () => {
  const onstop = vi.fn();
  const { button, text } = sweep({ grid: { ...grid, step: 50 }, working: true, onstop });
  expect(text()).toContain("50 of 100");
  button("Cancel").click();
  expect(onstop).toHaveBeenCalledOnce();
});

test("branches are chosen, and what differs stands beside them", () => {
  const onchoose = vi.fn();
  const other = { ...tree.branches[1]!, config: { ...config, learning_rate: 0.1 } as unknown as Branch["config"] };
  const { all: each, text } = show(Compare, { tree: { ...tree, branches: [tree.branches[0]!, other] }, chosen: [0, 1, 7], onchoose });
  const rows = each("tbody tr").map((row) => [...row.children].map((cell) => cell.textContent!.trim()).join(" | "));
  expect(rows).toEqual(["Settings that differ", "learning rate | 0.3 | 0.1", "At the tip", "steps | 100 | 90", "training loss | 0.250 | 0.125best"]);
  each('fieldset input')[0]!.click();
  expect(onchoose).toHaveBeenCalledExactlyOnceWith([1, 7]);
  expect(text()).not.toContain("There is one branch");
  expect(show(Compare, { tree: { ...tree, branches: [tree.branches[0]!] }, chosen: [], onchoose }).text()).toContain("There is one branch so far");
});
