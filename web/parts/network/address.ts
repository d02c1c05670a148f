// The network, its data and its seed as the address carries them: what differs from the proposal, by
// readable names, such as layers=2,4,1&data=spiral&rate=0.03.

import type { Config, DataSpec } from "../../generated/payloads";
import { DATA, fitted, PRESETS, proposed, proposedData, relayered, type Activation, type DataName } from "./presets";

type Params = Record<string, string>;

/** The settings that are one number, word or switch, and what the address calls them. */
const NAMES: Partial<Record<keyof Config, string>> = {
  loss: "loss", init: "init", init_scale: "init_scale", bias_init: "bias", optimizer: "optimizer", learning_rate: "rate",
  momentum: "momentum", decay: "decay", beta1: "beta1", beta2: "beta2", epsilon: "epsilon", weight_decay: "weight_decay",
  schedule: "schedule", schedule_every: "every", schedule_factor: "factor", warmup: "warmup", batch_size: "batch",
  l1: "l1", l2: "l2", penalize_bias: "penalize_bias", confidence_penalty: "confidence", huber_delta: "huber",
  leaky_slope: "leak", clip: "clip", seed: "seed",
};
const OF_DATA: Partial<Record<keyof DataSpec, string>> = { n: "n", noise: "noise", classes: "classes", test: "test", seed: "data_seed", target: "target" };
const SPELLED: Record<string, DataSpec["features"][number]> = { x: "x", y: "y", x2: "x²", y2: "y²", xy: "xy", sinx: "sin x", siny: "sin y" };
const LONGEST = 3000; // characters of a table or of painted points that an address still carries

/** Every name of the address that says what the network is; the others say how it is looked at. */
export const OWN = ["data", "layers", "activation", "features", "csv", "painted", ...Object.values(NAMES), ...Object.values(OF_DATA)];

/** What the address says. A field that cannot be read is as if it were not there; `kept` stands in for data
    that are too long for an address. */
export function readAddress(params: Params, kept?: Pick<DataSpec, "csv" | "painted"> | null): { config: Config; data: DataSpec } {
  const name: DataName = params.data !== undefined && params.data in PRESETS ? (params.data as DataName) : "xor_points";
  let data: DataSpec = { ...proposedData(name), ...scalars(OF_DATA, params, proposedData(name)) };
  const features = (params.features ?? "").split(",").flatMap((one) => SPELLED[one] ?? []);
  if (features.length > 0) data = { ...data, features: [...new Set(features)] };
  if (name === "csv") data = { ...data, csv: params.csv ?? kept?.csv ?? "" };
  if (name === "painted") data = { ...data, painted: params.painted === undefined ? (kept?.painted ?? []) : readPainted(params.painted) };

  let config = proposed(data);
  const layers = (params.layers ?? "").split(/[,\-]/).map(Number);
  if (layers.length >= 2 && layers.every((n) => Number.isInteger(n) && n > 0)) {
    config = { ...relayered(config, layers.slice(1, -1)), layers };
    if (name !== "csv") config = fitted(config, data);
  }
  const loss = params.loss as Config["loss"] | undefined;
  const activation = params.activation?.split(",") as Activation[] | undefined;
  if (loss && activation === undefined) config = { ...config, loss, activations: [...config.activations.slice(0, -1), outputFor(loss, config.activations.at(-1)!)] };
  if (activation && activation.length === config.activations.length) config = { ...config, activations: activation };
  else if (activation?.length === 1) config = { ...config, activations: [...config.activations.slice(0, -1).map(() => activation[0]!), config.activations.at(-1)!] };
  return { config: { ...config, ...scalars(NAMES, params, config) }, data };
}

/** The output that a loss is meant to be used with, where the present one does not go with it. */
export function outputFor(loss: Config["loss"], present: Activation): Activation {
  if (loss === "binary_cross_entropy") return "sigmoid";
  if (loss === "cross_entropy") return "softmax";
  if (loss === "hinge") return present === "tanh" ? "tanh" : "linear";
  return present === "softmax" || present === "sigmoid" ? "sigmoid" : present;
}

/** The address of this network on these data; `null` for a name that it does not need. */
export function writeAddress(config: Config, data: DataSpec): Record<string, string | null> {
  const params: Record<string, string | null> = Object.fromEntries(OWN.map((name) => [name, null]));
  if (data.name !== "xor_points") params.data = data.name;
  differing(params, OF_DATA, data, proposedData(data.name));
  if (data.features.join() !== DATA.features.join()) {
    params.features = data.features.map((one) => Object.keys(SPELLED).find((key) => SPELLED[key] === one)!).join(",");
  }
  if (data.name === "csv" && data.csv.length <= LONGEST) params.csv = data.csv;
  if (data.name === "painted") {
    const written = writePainted(data.painted);
    if (written.length <= LONGEST) params.painted = written;
  }
  const base = proposed(data);
  if (config.layers.join() !== base.layers.join()) params.layers = config.layers.join(",");
  const inner = config.activations.slice(0, -1);
  const like = fitted(relayered(base, config.layers.slice(1, -1)), data);
  if (config.activations.join() !== like.activations.join()) {
    const even = new Set(inner).size === 1 && config.activations.at(-1) === like.activations.at(-1);
    params.activation = even ? inner[0]! : config.activations.join(",");
  }
  differing(params, NAMES, config, base);
  // A loss alone brings its own output with it, so the two are said together.
  if (params.loss && params.activation === null) params.activation = config.activations.join(",");
  return params;
}

function differing<Of extends object>(params: Record<string, string | null>, names: Partial<Record<keyof Of, string>>, values: Of, base: Of): void {
  for (const [key, name] of Object.entries(names) as [keyof Of, string][]) {
    if (values[key] !== base[key]) params[name] = values[key] === null ? "none" : String(values[key]);
  }
}

function scalars<Of extends object>(names: Partial<Record<keyof Of, string>>, params: Params, base: Of): Partial<Of> {
  const found: Partial<Of> = {};
  for (const [key, name] of Object.entries(names) as [keyof Of, string][]) {
    const text = params[name];
    if (text === undefined) continue;
    const like = base[key];
    if (typeof like === "boolean") found[key] = (text === "true") as Of[keyof Of];
    else if (typeof like === "number" || like === null) {
      if (text === "none") found[key] = null as Of[keyof Of];
      else if (text.trim() !== "" && Number.isFinite(Number(text))) found[key] = Number(text) as Of[keyof Of];
    } else found[key] = text as Of[keyof Of];
  }
  return found;
}

/** Painted points: "1.2,-0.5,0;…". */
export function writePainted(points: DataSpec["painted"]): string {
  return points.map(([x, y, label]) => `${round(x)},${round(y)},${label}`).join(";");
}

export function readPainted(text: string): DataSpec["painted"] {
  return text.split(";").flatMap((one) => {
    const [x, y, label] = one.split(",").map(Number);
    const whole = label !== undefined && Number.isInteger(label) && label >= 0 && label < 8;
    return whole && Number.isFinite(x) && Number.isFinite(y) ? [[x!, y!, label] as [number, number, number]] : [];
  });
}

const round = (value: number) => String(Math.round(value * 100) / 100);
