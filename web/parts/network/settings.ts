// The settings that the page offers, in the order it offers them.

import type { Config } from "../../generated/payloads";
import { outputFor } from "./address";
import type { Activation } from "./presets";

export const ACTIVATIONS: [Activation, string][] = [
  ["tanh", "tanh"], ["relu", "ReLU"], ["leaky_relu", "leaky ReLU"], ["sigmoid", "sigmoid"], ["linear", "linear"],
  ["softplus", "softplus"], ["gelu", "GELU"], ["silu", "SiLU"], ["sine", "sine"],
];
export const OPTIMIZERS: [Config["optimizer"], string][] = [
  ["sgd", "SGD"], ["momentum", "SGD with momentum"], ["nesterov", "Nesterov"], ["rmsprop", "RMSProp"], ["adam", "Adam"], ["adamw", "AdamW"],
];
export const LOSSES: [Config["loss"], string, boolean][] = [
  // the last: of classes only
  ["binary_cross_entropy", "binary cross-entropy", true], ["cross_entropy", "cross-entropy", true], ["hinge", "hinge", true],
  ["mse", "mean squared error", false], ["mae", "mean absolute error", false], ["huber", "Huber", false],
];
const INITS: [Config["init"], string][] = [["xavier", "Xavier"], ["he", "He"], ["lecun", "LeCun"], ["uniform", "uniform"], ["constant", "constant"]];
const SCHEDULES: [Config["schedule"], string][] = [["constant", "constant"], ["step", "in steps"], ["exponential", "exponential"], ["cosine", "cosine"]];

export const RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
export const PENALTIES = [0, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1];

export interface Field {
  key: keyof Config;
  label: string;
  group: "Beginning" | "Loss and penalties" | "Optimizer";
  about: string;
  options?: [string, string][];
  values?: number[]; // offered; any other may be typed
  none?: string; // what an empty field means
  whole?: boolean;
  when?: (config: Config) => boolean;
}

const of = (...names: Config["optimizer"][]) => (config: Config) => names.includes(config.optimizer);

export const FIELDS: Field[] = [
  { key: "init", label: "First weights", group: "Beginning", options: INITS, about: "How the weights are drawn before the first step" },
  { key: "init_scale", label: "Their size", group: "Beginning", when: ({ init }) => init === "uniform" || init === "constant", about: "The bound of uniform weights, or the constant" },
  { key: "bias_init", label: "First biases", group: "Beginning", about: "What every bias begins with" },
  { key: "seed", label: "Seed", group: "Beginning", whole: true, about: "Of the first weights and of the order of the samples" },
  { key: "huber_delta", label: "δ of Huber", group: "Loss and penalties", when: ({ loss }) => loss === "huber", about: "Where the loss turns from a square into a line" },
  { key: "l1", label: "L1", group: "Loss and penalties", values: PENALTIES, about: "Adds l1 · Σ|w| to the loss" },
  { key: "l2", label: "L2", group: "Loss and penalties", values: PENALTIES, about: "Adds l2 / 2 · Σw² to the loss" },
  { key: "penalize_bias", label: "Biases too", group: "Loss and penalties", when: ({ l1, l2 }) => l1 > 0 || l2 > 0, about: "Whether L1 and L2 count the biases" },
  { key: "confidence_penalty", label: "Confidence penalty", group: "Loss and penalties", values: [0, 0.01, 0.1, 0.5], when: ({ activations }) => ["sigmoid", "softmax"].includes(activations.at(-1)!), about: "Takes this times the entropy of the output off the loss (Pereyra et al. 2017)" },
  { key: "learning_rate", label: "Learning rate", group: "Optimizer", values: RATES, about: "How far a step goes" },
  { key: "momentum", label: "Momentum", group: "Optimizer", when: of("momentum", "nesterov"), about: "How much of the last update is kept" },
  { key: "decay", label: "Decay", group: "Optimizer", when: of("rmsprop"), about: "How much of the mean square is kept" },
  { key: "beta1", label: "β₁", group: "Optimizer", when: of("adam", "adamw"), about: "How much of the mean gradient is kept" },
  { key: "beta2", label: "β₂", group: "Optimizer", when: of("adam", "adamw"), about: "How much of the mean square is kept" },
  { key: "epsilon", label: "ε", group: "Optimizer", when: of("adam", "adamw", "rmsprop"), about: "Keeps the division finite" },
  { key: "weight_decay", label: "Weight decay", group: "Optimizer", when: of("adamw"), about: "Taken off the weights themselves" },
  { key: "schedule", label: "Schedule", group: "Optimizer", options: SCHEDULES, about: "How the learning rate changes on the way" },
  { key: "schedule_every", label: "Its length", group: "Optimizer", whole: true, when: ({ schedule }) => schedule !== "constant", about: "Updates between two cuts, for one factor, or to zero" },
  { key: "schedule_factor", label: "Its factor", group: "Optimizer", when: ({ schedule }) => schedule === "step" || schedule === "exponential", about: "What the rate is multiplied by" },
  { key: "warmup", label: "Warm-up", group: "Optimizer", whole: true, about: "Updates over which the rate rises to its value" },
  { key: "batch_size", label: "Batch", group: "Optimizer", whole: true, values: [1, 4, 10, 32, 100], about: "Samples an update" },
  { key: "clip", label: "Clip the gradient at", group: "Optimizer", none: "none", about: "A longer gradient is scaled down to this norm" },
];

const FIXED: (keyof Config)[] = ["layers", "init", "init_scale", "bias_init", "seed", "activations"];

/** Whether a setting belongs to the beginning of a run. */
export function begins(key: keyof Config): boolean {
  return FIXED.includes(key);
}

/** A loss together with the output that goes with it. */
export function withLoss(config: Config, loss: Config["loss"]): Partial<Config> {
  const output = outputFor(loss, config.activations.at(-1)!);
  const off = !["sigmoid", "softmax"].includes(output) && config.confidence_penalty > 0 ? { confidence_penalty: 0 } : {};
  return { loss, activations: [...config.activations.slice(0, -1), output], ...off };
}

/** "2, 4, 1" or "2-4-1" as sizes; null for what is none. */
export function readSizes(text: string): number[] | null {
  const sizes = text.trim().split(/[\s,\-–;]+/).map(Number);
  return sizes.length > 0 && sizes.every((size) => Number.isInteger(size) && size >= 0) && text.trim() !== "" ? sizes : null;
}
