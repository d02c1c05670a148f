// What a sweep is asked, and how its answer is read.

import type { Config, SweepGrid } from "../../generated/payloads";

export interface SweepRequest {
  rows: string;
  row_values: number[];
  columns: string; // empty: only the rows differ
  column_values: number[];
  steps: number;
}

export interface Sweepable {
  name: keyof Config;
  usual: string; // values to begin with
  least: number;
  most: number;
  open?: boolean; // the least value itself is not allowed
  below?: boolean; // nor is the most
  whole?: boolean;
  applies?: (config: Config) => boolean;
}

const uses = (...names: string[]) => (config: Config) => names.includes(config.optimizer);

const unit = { least: 0, most: 1, below: true };

/** What may differ from network to network (playground/sweep.py), with the values it takes (playground/config.py). */
export const SWEEPABLE: Sweepable[] = [
  { name: "learning_rate", usual: "0.01, 0.03, 0.1, 0.3, 1", least: 0, most: 1e9, open: true },
  { name: "l1", usual: "0, 0.001, 0.003, 0.01", least: 0, most: 100 },
  { name: "l2", usual: "0, 0.001, 0.003, 0.01", least: 0, most: 100 },
  { name: "seed", usual: "0, 1, 2, 3, 4, 5, 6, 7", least: 0, most: Number.MAX_SAFE_INTEGER, whole: true },
  { name: "momentum", usual: "0, 0.5, 0.9, 0.99", ...unit, applies: uses("momentum", "nesterov") },
  { name: "decay", usual: "0.9, 0.99, 0.999", ...unit, applies: uses("rmsprop") },
  { name: "beta1", usual: "0, 0.5, 0.9", ...unit, applies: uses("adam", "adamw") },
  { name: "epsilon", usual: "1e-8, 1e-4, 1e-2", least: 0, most: 1, open: true, applies: uses("rmsprop", "adam", "adamw") },
  { name: "weight_decay", usual: "0, 0.01, 0.1", least: 0, most: 100, applies: uses("adamw") },
  { name: "warmup", usual: "0, 10, 100", least: 0, most: 1e9, whole: true },
  { name: "schedule_every", usual: "100, 300, 1000", least: 1, most: 1e9, whole: true, applies: (config) => config.schedule !== "constant" },
  { name: "schedule_factor", usual: "0.1, 0.5, 0.9", least: 0, most: 1, open: true, applies: (config) => ["step", "exponential"].includes(config.schedule) },
  { name: "clip", usual: "0.1, 0.3, 1, 3", least: 0, most: 1e9, open: true },
  { name: "confidence_penalty", usual: "0, 0.01, 0.1", least: 0, most: 10, applies: (config) => ["sigmoid", "softmax"].includes(config.activations.at(-1)!) },
  { name: "init_scale", usual: "0.1, 0.3, 1, 3", least: -100, most: 100, applies: (config) => ["uniform", "constant"].includes(config.init) },
  { name: "bias_init", usual: "-0.1, 0, 0.1", least: -100, most: 100 },
  { name: "huber_delta", usual: "0.1, 0.3, 1, 3", least: 0, most: 1e6, open: true, applies: (config) => config.loss === "huber" },
  { name: "leaky_slope", usual: "0, 0.01, 0.1, 0.3", least: 0, most: 1, applies: (config) => config.activations.includes("leaky_relu") },
];
export const MOST_CELLS = 256;

/** The numbers in a text such as "0.1, 0.3 1" or "0..7"; a sentence where it is none. */
export function readValues(text: string, setting: Sweepable): number[] | string {
  const range = /^\s*(\d+)\s*\.\.\s*(\d+)\s*$/.exec(text);
  if (range && Number(range[2]) - Number(range[1]) >= MOST_CELLS) return `${text.trim()} are more than ${MOST_CELLS} values.`;
  const words = range
    ? Array.from({ length: Math.max(0, Number(range[2]) - Number(range[1]) + 1) }, (_, i) => String(Number(range[1]) + i))
    : text.split(/[\s,;]+/).filter(Boolean);
  if (words.length === 0) return "Give at least one value.";
  const values: number[] = [];
  for (const word of words) {
    const value = Number(word.replace("−", "-"));
    if (!Number.isFinite(value)) return `“${word}” is no number.`;
    if (setting.whole && !Number.isInteger(value)) return `${word} is no whole number.`;
    if (value < setting.least || (setting.open && value === setting.least)) return `${word} is too small: ${setting.open ? "more than" : "at least"} ${setting.least}.`;
    if (value > setting.most || (setting.below && value === setting.most)) return `${word} is too large: ${setting.below ? "less than" : "at most"} ${setting.most.toLocaleString("en")}.`;
    if (values.includes(value)) return `${word} is there twice.`;
    values.push(value);
  }
  return values;
}

export type SweepMeasure = "train" | "test" | "train_accuracy" | "test_accuracy";

/** The cell with the lowest loss, or the highest accuracy; null where none has a number. */
export function best(grid: SweepGrid, measure: SweepMeasure): { row: number; column: number } | null {
  const { data, shape } = grid[measure];
  const sign = measure.endsWith("accuracy") ? -1 : 1;
  let at = -1;
  data.forEach((value, i) => {
    if (Number.isFinite(value) && (at < 0 || sign * value < sign * data[at]!)) at = i;
  });
  const width = shape[1] ?? 1;
  return at < 0 ? null : { row: Math.floor(at / width), column: at % width };
}

/** The configuration of one cell: the one swept over, with the cell's own values in it. */
export function configOf(config: Config, grid: SweepGrid, row: number, column: number): Config {
  return {
    ...config,
    [grid.rows]: grid.row_values[row],
    ...(grid.columns ? { [grid.columns]: grid.column_values[column] } : {}),
  } as Config;
}
