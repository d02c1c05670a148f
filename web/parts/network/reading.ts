// The picture in words: what stands at a place, what is answered at a point, what a sample is.

import type { Details, Frame, Setting } from "../../generated/payloads";
import { exact, signed, three } from "../numbers";
import type { Ground } from "./drawSurface";
import { readPlace, say } from "./naming";
import { classOf, gradient, parameter, unitIndex } from "./values";

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** A place with its numbers. */
export function placeText(setting: Setting, frame: Frame, details: Details | null, place: string): string {
  const at = readPlace(place);
  if (!at) return "";
  const name = sentence(say(place, setting));
  if (at.kind !== "unit") {
    const value = parameter(frame, place);
    const slope = details && details.step === frame.step && details.branch === frame.branch ? gradient(details, place) : NaN;
    return `${name}: ${exact(value)}${Number.isNaN(slope) ? "" : `, gradient ${signed(slope)}`}.`;
  }
  const kind = at.layer === 0 ? "input" : setting.config.activations[at.layer - 1]!.replace("_", " ");
  const pass = frame.sample;
  const mapped = frame.map_scale.data[unitIndex(setting.config.layers, at.layer, at.to)];
  const parts = [at.layer === 0 ? "" : kind];
  if (pass) {
    const a = pass.activations[at.layer]?.data[at.to];
    if (a !== undefined) parts.push(`${exact(a)} at sample ${pass.index}`);
    const delta = at.layer > 0 ? pass.delta[at.layer - 1]?.data[at.to] : undefined;
    if (delta !== undefined) parts.push(`its gradient by z ${signed(delta)}`);
  } else if (mapped !== undefined && frame.maps.data.length > 0) parts.push(`at most ±${three(mapped)} here`);
  const said = parts.filter(Boolean).join(", ");
  return said ? `${name}: ${said}.` : `${name}.`;
}

/** The answer at a point of the ground, from the surface's nearest cell. */
export function answerAt(setting: Setting, frame: Frame, [x, y]: [number, number]): string {
  const [rows = 0, columns = 0] = frame.surface.shape;
  if (!columns) return "";
  const [low, high] = setting.domain as [number, number];
  const cell = (value: number, n: number) => Math.round(((value - low) / (high - low)) * (n - 1));
  const at = (rows > 1 ? cell(y, rows) * columns : 0) + cell(x, columns);
  const value = frame.surface.data[at]!;
  const [first = "x", second = "y"] = setting.coordinates;
  const where = `${first} ${x.toFixed(2)}${rows > 1 ? `, ${second} ${y.toFixed(2)}` : ""}`.replaceAll("-", "−");
  const winner = frame.winner.data[at];
  const decided = winner !== undefined && frame.winner.data.length > 0 ? `, class ${setting.classes[winner]}` : "";
  return `${where}: ${three(value)}${decided}`;
}

/** A sample: where it is, what it is, what the network says. */
export function sampleText(setting: Setting, frame: Frame, sample: number): string {
  const coordinates = setting.points.shape[1]!;
  const where = coordinates <= 3
    ? setting.coordinates.map((name, i) => `${name} ${three(setting.points.data[sample * coordinates + i]!)}`).join(", ")
    : "";
  const outputs = frame.outputs.shape[1]!;
  const out = frame.outputs.data.subarray(sample * outputs, (sample + 1) * outputs);
  const target = setting.task === "classes" ? `class ${setting.classes[classOf(setting, sample)]}` : `value ${three(setting.targets.data[sample * setting.targets.shape[1]!]!)}`;
  let said = `output ${three(out[0]!)}`;
  if (outputs > 1 && setting.task === "classes") {
    const best = out.indexOf(Math.max(...out));
    said = `decided ${setting.classes[best]} with ${three(out[best]!)}`;
  }
  const held = setting.held_back.data[sample] === 1 ? "test sample" : "sample";
  return `${sentence(held)} ${sample}${where ? ` at ${where}` : ""}: ${target}; ${said}${frame.wrong.data[sample] === 1 ? ", misclassified" : ""}.`;
}

/** The sample nearest to a point, within `reach` pixels. */
export function nearest(setting: Setting, ground: Ground, at: [number, number], reach: number): number | null {
  const coordinates = setting.points.shape[1]!;
  const [px, py] = [ground.x(at[0]), ground.y(at[1])];
  let best: number | null = null;
  let least = reach;
  for (let i = 0; i < setting.points.shape[0]!; i++) {
    const x = ground.x(setting.points.data[i * coordinates]!);
    const y = ground.y(coordinates > 1 ? setting.points.data[i * coordinates + 1]! : setting.targets.data[i * setting.targets.shape[1]!]!);
    const distance = Math.hypot(x - px, y - py);
    if (distance < least) [least, best] = [distance, i];
  }
  return best;
}

/** One line on the state of the training, for a screen reader. */
export function stateText(frame: Frame, playing: boolean): string {
  const { losses } = frame;
  const accuracy = Number.isNaN(losses.train_accuracy) ? "" : `, accuracy ${three(losses.train_accuracy)}`;
  return `${playing ? "Training" : "Paused"} at step ${frame.step.toLocaleString("en")}: loss ${three(losses.train)}${accuracy}.`;
}

