// The sets of points, and for each a network that learns it well: what the page begins with.

import { VIEWS, type Config, type DataSpec } from "../../generated/payloads";

export type DataName = DataSpec["name"];
export type Activation = Config["activations"][number];
export const CONFIG = VIEWS.network.defaults.config as unknown as Config;
export const DATA = VIEWS.network.defaults.data as unknown as DataSpec;

interface Preset {
  title: string;
  group: "Two classes" | "Several classes" | "Values" | "Your own";
  hidden: number[];
  config: Partial<Config>;
  data?: Partial<DataSpec>;
  drawn?: boolean; // has a number of samples, noise and a seed of its own
}

const ADAM: Partial<Config> = { optimizer: "adam", learning_rate: 0.01, batch_size: 10 };
const VALUES: Partial<Config> = { ...ADAM, loss: "mse" };

export const PRESETS: Record<DataName, Preset> = {
  xor_points: { title: "XOR, four points", group: "Two classes", hidden: [4], config: {} },
  xor: { title: "XOR, clouds", group: "Two classes", hidden: [4], config: { learning_rate: 0.1, batch_size: 10 }, drawn: true },
  circles: { title: "Circles", group: "Two classes", hidden: [4], config: { learning_rate: 0.1, batch_size: 10 }, drawn: true },
  moons: { title: "Moons", group: "Two classes", hidden: [6], config: { learning_rate: 0.1, batch_size: 10 }, data: { noise: 0.1 }, drawn: true },
  gaussians: { title: "Gaussians", group: "Two classes", hidden: [2], config: { learning_rate: 0.03, batch_size: 10 }, data: { noise: 0.1 }, drawn: true },
  spiral: { title: "Spiral", group: "Two classes", hidden: [8, 8], config: { ...ADAM }, drawn: true },
  checkerboard: { title: "Checkerboard", group: "Two classes", hidden: [12, 8], config: { ...ADAM }, data: { n: 500 }, drawn: true },
  blobs: { title: "Blobs", group: "Several classes", hidden: [6], config: { learning_rate: 0.05, batch_size: 10 }, data: { noise: 0.15 }, drawn: true },
  digits: { title: "Digits, 8×8", group: "Several classes", hidden: [32], config: { ...ADAM, activations: ["relu"], learning_rate: 0.003, batch_size: 32 }, data: { test: 0.3 } },
  plane: { title: "Plane", group: "Values", hidden: [2], config: { ...VALUES }, drawn: true },
  wave: { title: "Wave", group: "Values", hidden: [8, 8], config: { ...VALUES }, drawn: true },
  bump: { title: "Bumps", group: "Values", hidden: [8, 8], config: { ...VALUES }, drawn: true },
  curve: { title: "Curve", group: "Values", hidden: [8], config: { ...VALUES }, data: { n: 60, noise: 0.05 }, drawn: true },
  csv: { title: "Your CSV …", group: "Your own", hidden: [8], config: { ...ADAM } },
  painted: { title: "Painted by hand …", group: "Your own", hidden: [6], config: { learning_rate: 0.1, batch_size: 10 } },
};
export const GROUPS = ["Two classes", "Several classes", "Values", "Your own"] as const;

/** How many inputs and outputs a network for the data has, and whether it learns classes. */
export function shapeOf(data: DataSpec): { inputs: number; outputs: number; classes: boolean } {
  const values = PRESETS[data.name].group === "Values";
  if (data.name === "digits") return { inputs: 64, outputs: 10, classes: true };
  if (data.name === "curve") return { inputs: 1, outputs: 1, classes: false };
  if (data.name === "csv") return csvShape(data.csv, data.target, data.features.length);
  let outputs = 1;
  if (data.name === "blobs") outputs = data.classes > 2 ? data.classes : 1;
  if (data.name === "painted") {
    const most = data.painted.reduce((most, [, , label]) => Math.max(most, label), 1);
    outputs = most > 1 ? most + 1 : 1;
  }
  return { inputs: data.features.length, outputs, classes: !values };
}

/** The same of a table, as far as it can be told here; the lab reads it properly and says what is wrong. */
export function csvShape(text: string, target: string, features = 2): { inputs: number; outputs: number; classes: boolean } {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const first = lines[0] ?? "";
  const separator = [",", ";", "\t"].find((mark) => first.includes(mark)) ?? ",";
  const cells = lines.map((line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")));
  const number = (cell: string | undefined) => cell !== undefined && cell !== "" && Number.isFinite(Number(cell));
  const width = cells[0]?.length ?? 0;
  const header = cells.length > 1 && cells[0]!.some((cell, i) => !number(cell) && number(cells[1]![i]));
  const named = header && target !== "" ? cells[0]!.indexOf(target) : -1;
  const column = named >= 0 ? named : width - 1;
  const targets = cells.slice(header ? 1 : 0).map((row) => row[column] ?? "");
  const distinct = new Set(targets);
  const whole = targets.every((cell) => number(cell) && Number.isInteger(Number(cell)));
  const classes = !targets.every(number) || (whole && distinct.size <= 20 && distinct.size < targets.length / 2);
  const columns = Math.max(1, width - 1);
  return { inputs: columns === 2 ? features : columns, outputs: !classes || distinct.size <= 2 ? 1 : distinct.size, classes };
}

/** The loss and output that go with the outputs a network has. */
function ending(outputs: number, classes: boolean): { loss: Config["loss"]; output: Activation } {
  if (!classes) return { loss: "mse", output: "linear" };
  return outputs > 1 ? { loss: "cross_entropy", output: "softmax" } : { loss: "binary_cross_entropy", output: "sigmoid" };
}

/** The network that the page proposes for the data. */
export function proposed(data: DataSpec): Config {
  const { hidden, config } = PRESETS[data.name];
  const { inputs, outputs, classes } = shapeOf(data);
  const { loss, output } = ending(outputs, classes);
  const inner = config.activations?.[0] ?? "tanh";
  return {
    ...CONFIG, ...config, loss: config.loss ?? loss,
    layers: [inputs, ...hidden, outputs],
    activations: [...hidden.map(() => inner), output],
  };
}

/** The data as the page proposes them. */
export function proposedData(name: DataName): DataSpec {
  return { ...DATA, name, ...PRESETS[name].data };
}

/** The network fitted to other data: its hidden layers and its training stay, its ends follow the data. */
export function fitted(config: Config, data: DataSpec): Config {
  const { inputs, outputs, classes } = shapeOf(data);
  const { loss, output } = ending(outputs, classes);
  const hidden = config.layers.slice(1, -1);
  const regression = ["mse", "mae", "huber"].includes(config.loss);
  // A loss for values is for classes too, but not the other way round.
  const keeps = config.layers.at(-1) === outputs && (classes ? !regression || config.activations.at(-1) !== "linear" : regression);
  return {
    ...config,
    layers: [inputs, ...hidden, outputs],
    loss: keeps ? config.loss : loss,
    activations: [...config.activations.slice(0, -1), keeps ? config.activations.at(-1)! : output],
  };
}

/** The network with other hidden layers; a new one gets the activation of its neighbour. */
export function relayered(config: Config, hidden: number[]): Config {
  const inner = config.activations.slice(0, -1);
  const fallback = inner.at(-1) ?? "tanh";
  return {
    ...config,
    layers: [config.layers[0]!, ...hidden, config.layers.at(-1)!],
    activations: [...hidden.map((_, i) => inner[i] ?? fallback), config.activations.at(-1)!],
  };
}
