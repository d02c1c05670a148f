// Samples as marks: a shape and a colour a class, hollow where held back, ringed where misclassified.

import type { Setting } from "../../generated/payloads";
import type { Palette } from "../palette.svelte";
import { rgb, shade, signedRamp } from "./paint";
import { classOf } from "./values";

const SIDES: number[] = [0, 4, 3, -4, 5, 6, -3, 8]; // 0 a circle; a negative one stands on its point

/** The radius of a mark where there are `n` samples. */
export function radius(n: number): number {
  return n <= 12 ? 8 : n <= 40 ? 5.5 : n <= 400 ? 4 : n <= 1200 ? 3 : 2;
}

export function classColour(palette: Palette, setting: Setting, index: number): string {
  if (setting.classes.length <= 2) return index === 1 ? palette.positive : palette.negative;
  return palette.categories[index % palette.categories.length]!;
}

/** The colour of a sample's target. */
export function sampleColour(palette: Palette, setting: Setting, sample: number, reach: number): string {
  if (setting.task === "classes") return classColour(palette, setting, classOf(setting, sample));
  return rgb(shade(signedRamp(palette), setting.targets.data[sample * setting.targets.shape[1]!]!, reach));
}

/** The corners of a class's shape around the origin; none for a circle. */
export function corners(kind: number, r: number): [number, number][] {
  const sides = SIDES[kind % SIDES.length]!;
  const n = Math.abs(sides);
  const turn = sides === 4 ? Math.PI / 4 : sides === -3 ? Math.PI / 2 : -Math.PI / 2;
  const reach = n === 4 ? r * 1.22 : n === 3 ? r * 1.3 : r * 1.12;
  return Array.from({ length: n }, (_, i) => {
    const angle = turn + (i * 2 * Math.PI) / n;
    return [reach * Math.cos(angle), reach * Math.sin(angle)];
  });
}

function shape(context: CanvasRenderingContext2D, kind: number, x: number, y: number, r: number): void {
  const points = corners(kind, r);
  context.beginPath();
  if (points.length === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  for (const [dx, dy] of points) context.lineTo(x + dx, y + dy);
  if (points.length > 0) context.closePath();
}

export interface Mark {
  colour: string;
  kind: number;
  held: boolean;
  wrong: boolean;
}

let stamps: { palette: Palette; made: Map<string, HTMLCanvasElement> } | null = null;

/** Draws marks fast: each look is drawn once and then copied. */
export function stamp(context: CanvasRenderingContext2D, palette: Palette, mark: Mark, x: number, y: number, r: number): void {
  if (stamps?.palette !== palette) stamps = { palette, made: new Map() };
  const scale = window.devicePixelRatio || 1;
  const key = `${mark.colour} ${mark.kind} ${mark.held} ${mark.wrong} ${r} ${scale}`;
  const half = r + (mark.wrong ? 6 : 3);
  let made = stamps.made.get(key);
  if (!made) {
    made = document.createElement("canvas");
    made.width = made.height = Math.ceil(half * 2 * scale);
    const own = made.getContext("2d")!;
    own.scale(scale, scale);
    draw(own, palette, mark, half, half, r);
    stamps.made.set(key, made);
  }
  context.drawImage(made, x - half, y - half, half * 2, half * 2);
}

function draw(context: CanvasRenderingContext2D, palette: Palette, mark: Mark, x: number, y: number, r: number): void {
  shape(context, mark.kind, x, y, r + 0.8);
  context.fillStyle = palette.paper;
  context.fill();
  shape(context, mark.kind, x, y, mark.held ? r - 0.8 : r);
  if (mark.held) {
    context.strokeStyle = mark.colour;
    context.lineWidth = Math.max(1.4, r * 0.36);
    context.stroke();
  } else {
    context.fillStyle = mark.colour;
    context.fill();
    if (r >= 3) {
      context.strokeStyle = palette.ink;
      context.lineWidth = 0.7;
      context.stroke();
    }
  }
  if (mark.wrong) {
    context.beginPath();
    const few = r >= 5; // of many, the rings would hide each other
    context.arc(x, y, r + (few ? 3.6 : 2.2), 0, 2 * Math.PI);
    if (few) {
      context.strokeStyle = palette.paper;
      context.lineWidth = 4;
      context.stroke();
    }
    context.strokeStyle = palette.wrong;
    context.lineWidth = few ? 2 : 1.25;
    context.stroke();
    if (!few) return;
    context.beginPath();
    const arm = r * 0.42;
    context.moveTo(x - arm, y - arm);
    context.lineTo(x + arm, y + arm);
    context.moveTo(x + arm, y - arm);
    context.lineTo(x - arm, y + arm);
    context.strokeStyle = mark.held ? palette.ink : palette.paper;
    context.lineWidth = 1.6;
    context.stroke();
  }
}
