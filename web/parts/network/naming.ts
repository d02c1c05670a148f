// What a place in the picture is called: `u1.2`, `w1.0.2`, `b1.2` in words.

import type { Setting } from "../../generated/payloads";

export interface Place {
  kind: "unit" | "weight" | "bias";
  layer: number; // of units, the inputs being 0
  to: number;
  from: number | null; // of a weight
}

export function readPlace(place: string): Place | null {
  const [, kind, layer, first, second] = /^([uwb])(\d+)\.(\d+)(?:\.(\d+))?$/.exec(place) ?? [];
  if (kind === undefined || (kind === "w") !== (second !== undefined)) return null;
  return {
    kind: kind === "u" ? "unit" : kind === "b" ? "bias" : "weight",
    layer: Number(layer), to: Number(second ?? first), from: second === undefined ? null : Number(first),
  };
}

type Names = Pick<Setting, "features" | "classes" | "config">;

/** A unit's short name: the input's own, the class of an output that has one, else layer and number. */
export function unitName(layer: number, unit: number, setting?: Names | null): string {
  if (layer === 0) return setting?.features[unit] ?? `input ${unit}`;
  const layers = setting?.config.layers;
  if (layers && layer === layers.length - 1) {
    if (layers[layer] === 1) return "output";
    return setting.classes[unit] !== undefined ? `output ${setting.classes[unit]}` : `output ${unit}`;
  }
  return `${layer}.${unit}`;
}

/** A place in words: "weight from x to unit 1.2". What is no place comes back as it is. */
export function say(place: string, setting?: Names | null): string {
  const at = readPlace(place);
  if (!at) return place;
  const unit = (layer: number, index: number) => {
    const name = unitName(layer, index, setting);
    return /^\d/.test(name) ? `unit ${name}` : name;
  };
  if (at.kind === "unit") return unit(at.layer, at.to);
  if (at.kind === "bias") return `bias of ${unit(at.layer, at.to)}`;
  return `weight from ${unit(at.layer - 1, at.from!)} to ${unit(at.layer, at.to)}`;
}

/** A setting's name as it is written in a sentence: learning_rate -> learning rate. */
export function settingName(name: string): string {
  return { l1: "L1", l2: "L2", beta1: "β₁", beta2: "β₂", epsilon: "ε" }[name] ?? name.replaceAll("_", " ");
}

export function branchName(branch: { label: string }): string {
  return branch.label ? branch.label.split("; ").map((part) => part.replace(/^[a-z]\w*(?= )/, settingName)).join("; ") : "first run";
}
