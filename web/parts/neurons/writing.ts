// Prompts that are written to excite a neuron: what the state asks for, and their curves.

import { scaleLinear } from "d3-scale";
import type { NeuronPrompt } from "../../generated/payloads";
import type { State } from "../../hosts/contract";
import type { Curve, Drawing } from "../curves";
import { signed } from "../numbers";

export interface Writing {
  lowest: boolean;
  n: number;
  seed: number;
  fluency: number;
}
export const LENGTHS = [2, 4, 8, 12, 16];
const COLOURS = [1, 2, 3, 4, 5, 6, 8].map((i) => `--category-${i}`);
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 3", "12 4"];

/** What the state asks to be written; null: nothing. The names are those of export/of_mlp.py. */
export function asked(shown: State): Writing | null {
  if (shown.excite !== "high" && shown.excite !== "low") return null;
  const read = (name: string, usual: number) => {
    const value = Number(shown[name] ?? usual);
    return Number.isFinite(value) ? value : usual;
  };
  return { lowest: shown.excite === "low", n: read("excite_n", 8), seed: read("excite_seed", 0), fluency: read("excite_fluency", 0) };
}

export const nameOf = (seed: number | null): string => (seed === null ? "begun at real text" : `from seed ${seed}`);
export const colourOf = (index: number): string => COLOURS[index % COLOURS.length]!;

/** Each prompt's activation after each step, the best real text beside them. */
export function climbOf(payload: NeuronPrompt): Drawing {
  const steps = [...Array(payload.steps + 1).keys()];
  const curves = payload.prompts.map(({ seed, start, history }, i): Curve => ({
    name: nameOf(seed),
    values: steps.map((step) => (step === 0 ? start : (history.data[step - 1] ?? NaN))),
    colour: colourOf(i),
    dash: DASHES[i % DASHES.length]!,
    width: i === payload.best ? 2.5 : 1.5,
  }));
  const real = payload.real ? [payload.real.values.data[payload.real.at]!] : [];
  const all = [0, ...real, ...curves.flatMap(({ values }) => Array.from(values).filter(Number.isFinite))];
  const y = scaleLinear([Math.min(...all), Math.max(...all)], [0, 1]).nice(4);
  const [low, high] = y.domain() as [number, number];
  return {
    x: steps,
    curves,
    levels: real.map((value) => ({ name: "best real text", value, dash: "6 4" })),
    domain: low === high ? [low, low + 1] : [low, high],
    ticks: y.ticks(4),
    xTicks: steps.filter((step) => step % Math.max(1, Math.ceil(payload.steps / 8)) === 0).map((at) => ({ at, label: String(at) })),
    xTitle: "exchanges tried, one token a step",
  };
}

/** The activations at one step, in a line. */
export function atStep(payload: NeuronPrompt, step: number): string {
  const said = payload.prompts.flatMap(({ seed, start, history }) => {
    const value = step === 0 ? start : history.data[step - 1];
    return value === undefined ? [] : [`${signed(value)} ${nameOf(seed)}`];
  });
  return `Step ${step}: ${said.join(", ") || "nothing yet"}.`;
}
