// What the network answers over its ground, and the samples on it.

import type { Frame, Setting } from "../../generated/payloads";
import { channels, type Palette } from "../palette.svelte";
import { tickText } from "./axis";
import { contour } from "./contour";
import { readPlace } from "./naming";
import { Pixels, shade, signedRamp } from "./paint";
import { radius, sampleColour, stamp } from "./points";
import { classOf, scaleOf, unitIndex } from "./values";

export const LEFT = 34;
export const BELOW = 24;
const pixels = new Pixels();

export interface Ground {
  width: number;
  height: number;
  x: (value: number) => number;
  y: (value: number) => number;
  invert: (px: number, py: number) => [number, number];
}

/** The ground in pixels. A line's second axis is of values, `low` to `high`. */
export function groundOf(setting: Setting, width: number, height: number, values?: [number, number]): Ground {
  const [low = 0, high = 1] = setting.domain;
  const [bottom, top] = values ?? [low, high];
  const [wide, tall] = [width - LEFT - 2, height - BELOW - 2];
  return {
    width, height,
    x: (value) => LEFT + ((value - low) / (high - low)) * wide,
    y: (value) => 2 + tall - ((value - bottom) / (top - bottom)) * tall,
    invert: (px, py) => [low + ((px - LEFT) / wide) * (high - low), bottom + ((2 + tall - py) / tall) * (top - bottom)],
  };
}

/** The values that a curve's picture spans: the targets, with some room; the network may leave it. */
export function spanOf(setting: Setting): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of setting.targets.data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const room = Math.max(0.1, (high - low) * 0.25);
  return [low - room, high + room];
}

export interface SurfaceDrawing {
  setting: Setting;
  frame: Frame;
  ground: Ground;
  discrete: boolean;
  unit: string | null; // a unit's map in place of the answer
  sample: number | null;
  cursor: [number, number] | null;
  points: boolean;
}

export function drawSurface(context: CanvasRenderingContext2D, palette: Palette, drawing: SurfaceDrawing): void {
  const { setting, ground } = drawing;
  if (setting.dimensions === 2) field(context, palette, drawing);
  axes(context, palette, drawing);
  if (setting.dimensions === 1) curve(context, palette, drawing);
  if (drawing.points) samples(context, palette, drawing);
  if (drawing.cursor) {
    const [x, y] = [ground.x(drawing.cursor[0]), ground.y(drawing.cursor[1])];
    context.strokeStyle = palette.ink;
    context.lineWidth = 1;
    context.setLineDash([3, 2]);
    context.beginPath();
    context.moveTo(LEFT, y);
    context.lineTo(ground.width - 2, y);
    context.moveTo(x, 2);
    context.lineTo(x, ground.height - BELOW);
    context.stroke();
    context.setLineDash([]);
  }
}

/** The map of a unit of the network, as index, when `unit` names one that has a map. */
function mapOf({ setting, frame, unit }: SurfaceDrawing): number | null {
  const place = unit === null ? null : readPlace(unit);
  if (!place || frame.maps.data.length === 0) return null;
  return unitIndex(setting.config.layers, place.layer, place.to);
}

function field(context: CanvasRenderingContext2D, palette: Palette, drawing: SurfaceDrawing): void {
  const { setting, frame, ground, discrete } = drawing;
  const map = mapOf(drawing);
  const ramp = signedRamp(palette);
  const { middle, reach } = scaleOf(setting);
  const several = setting.task === "classes" && frame.outputs.shape[1]! > 1;
  const [rows, columns] = (map === null ? frame.surface.shape : frame.maps.shape.slice(1)) as [number, number];
  if (!rows || !columns) return;
  pixels.resize(columns, rows);
  const { words } = pixels;
  const pick = map !== null ? mapped(frame, map, ramp) : several ? winners(frame, palette, setting, discrete) : answers(frame, ramp, middle, reach, discrete && setting.task === "classes");
  for (let row = 0; row < rows; row++) {
    const to = (rows - 1 - row) * columns; // the highest y on top
    for (let column = 0; column < columns; column++) words[to + column] = pick(row * columns + column);
  }
  pixels.put();
  context.imageSmoothingEnabled = !discrete || map !== null;
  const [left, top] = [ground.x(setting.domain[0]!), ground.y(setting.domain[1]!)];
  const [wide, tall] = [ground.x(setting.domain[1]!) - left, ground.y(setting.domain[0]!) - top];
  context.drawImage(pixels.canvas, 0.5, 0.5, columns - 1, rows - 1, left, top, wide, tall);
  if (map === null && setting.task === "classes" && !several) {
    const line = contour(frame.surface.data, rows, columns, middle);
    context.strokeStyle = palette.ink;
    context.lineWidth = 1.25;
    context.beginPath();
    for (let i = 0; i < line.length; i += 4) {
      context.moveTo(left + (line[i]! / (columns - 1)) * wide, top + tall - (line[i + 1]! / (rows - 1)) * tall);
      context.lineTo(left + (line[i + 2]! / (columns - 1)) * wide, top + tall - (line[i + 3]! / (rows - 1)) * tall);
    }
    context.stroke();
  }
}

function answers(frame: Frame, ramp: Uint32Array, middle: number, reach: number, discrete: boolean): (at: number) => number {
  const { data } = frame.surface;
  if (discrete) return (at) => ramp[data[at]! > middle ? 127 + 76 : 127 - 76]!;
  return (at) => shade(ramp, (data[at]! - middle) * 0.8, reach);
}

function mapped(frame: Frame, index: number, ramp: Uint32Array): (at: number) => number {
  const from = index * frame.maps.shape[1]! * frame.maps.shape[2]!;
  return (at) => ramp[127 + frame.maps.data[from + at]!]!;
}

/** The winner's colour, lighter where it is less sure. */
function winners(frame: Frame, palette: Palette, setting: Setting, discrete: boolean): (at: number) => number {
  const classes = setting.classes.length;
  const paper = channels(palette.paper);
  const least = 1 / classes;
  const tints = Array.from({ length: classes }, (_, index) => {
    const own = channels(palette.categories[index % palette.categories.length]!);
    return Uint32Array.from({ length: 64 }, (_, step) => {
      const share = 0.12 + (step / 63) * 0.6;
      const [r, g, b] = own.map((channel, c) => Math.round(paper[c]! + (channel - paper[c]!) * share));
      return 0xff000000 | (b! << 16) | (g! << 8) | r!;
    });
  });
  const { data } = frame.surface;
  return (at) => {
    const sure = discrete ? 0.7 : (data[at]! - least) / (1 - least);
    return tints[frame.winner.data[at]!]![Math.min(63, Math.max(0, Math.round(sure * 63)))]!;
  };
}

function curve(context: CanvasRenderingContext2D, palette: Palette, drawing: SurfaceDrawing): void {
  const { setting, frame, ground } = drawing;
  const map = mapOf(drawing);
  const data = map === null ? frame.surface.data : frame.maps.data.subarray(map * frame.maps.shape[2]!, (map + 1) * frame.maps.shape[2]!);
  const scale = map === null ? 1 : frame.map_scale.data[map]! / 127;
  const [low, high] = setting.domain as [number, number];
  context.save();
  context.beginPath();
  context.rect(LEFT, 2, ground.width - LEFT - 2, ground.height - BELOW - 2);
  context.clip();
  context.beginPath();
  for (let i = 0; i < data.length; i++) context.lineTo(ground.x(low + (i / (data.length - 1)) * (high - low)), ground.y(data[i]! * scale));
  context.strokeStyle = palette.accent;
  context.lineWidth = 2.5;
  context.lineJoin = "round";
  context.stroke();
  context.restore();
}

function axes(context: CanvasRenderingContext2D, palette: Palette, { setting, ground }: SurfaceDrawing): void {
  const [low, high] = setting.domain as [number, number];
  const [wide, tall] = [ground.width - LEFT - 2, ground.height - BELOW - 2];
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.strokeRect(LEFT + 0.5, 2.5, wide - 1, tall - 1);
  context.font = `12px ${palette.mono}`;
  context.fillStyle = palette.soft;
  context.textBaseline = "middle";
  const along = (from: number, to: number) => {
    const size = (to - from) / 4;
    const step = [1, 2, 2.5, 5, 10].map((one) => one * 10 ** Math.floor(Math.log10(size))).find((one) => one >= size * 0.999)!;
    return Array.from({ length: 9 }, (_, i) => Math.ceil(from / step) * step + i * step).filter((tick) => tick <= to + 1e-9);
  };
  context.textAlign = "center";
  for (const tick of along(low, high)) {
    const x = Math.min(ground.width - 14, Math.max(LEFT + 8, ground.x(tick)));
    context.fillText(tickText(Number(tick.toPrecision(6))), x, ground.height - BELOW / 2 + 2);
  }
  context.textAlign = "right";
  const [bottom, top] = [ground.invert(0, 2 + tall)[1], ground.invert(0, 2)[1]];
  for (const tick of along(bottom, top)) context.fillText(tickText(Number(tick.toPrecision(6))), LEFT - 5, Math.min(ground.height - BELOW - 7, Math.max(9, ground.y(tick))));
}

function samples(context: CanvasRenderingContext2D, palette: Palette, { setting, frame, ground, sample }: SurfaceDrawing): void {
  const n = setting.points.shape[0]!;
  const coordinates = setting.points.shape[1]!;
  const r = radius(n);
  const reach = scaleOf(setting).reach;
  // Those that are held back, then those that are wrong, lie on top.
  for (const pass of [0, 1, 2]) {
    for (let i = 0; i < n; i++) {
      const wrong = frame.wrong.data[i] === 1;
      const held = setting.held_back.data[i] === 1;
      if ((wrong ? 2 : held ? 1 : 0) !== pass) continue;
      const x = ground.x(setting.points.data[i * coordinates]!);
      const y = ground.y(coordinates > 1 ? setting.points.data[i * coordinates + 1]! : setting.targets.data[i * setting.targets.shape[1]!]!);
      const kind = setting.task === "classes" ? classOf(setting, i) : 0;
      const colour = coordinates === 1 && setting.task === "regression" ? palette.ink : sampleColour(palette, setting, i, reach);
      stamp(context, palette, { colour, kind, held, wrong }, x, y, r);
    }
  }
  if (sample !== null && sample < n) {
    const x = ground.x(setting.points.data[sample * coordinates]!);
    const y = ground.y(coordinates > 1 ? setting.points.data[sample * coordinates + 1]! : setting.targets.data[sample * setting.targets.shape[1]!]!);
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.strokeRect(x - r - 6, y - r - 6, 2 * r + 12, 2 * r + 12);
  }
}
