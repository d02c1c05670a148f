// Colours of signed numbers on a canvas: blue above zero, orange below, the paper between.

import { channels, type Palette } from "../palette.svelte";

const RAMPS = new WeakMap<Palette, Uint32Array>();

/** 255 colours from most negative to most positive, as little-endian RGBA: entry `127 + v` is of v. */
export function signedRamp(palette: Palette): Uint32Array {
  const known = RAMPS.get(palette);
  if (known) return known;
  const middle = channels(palette.paper);
  const ends = [channels(palette.negative), channels(palette.positive)];
  const ramp = new Uint32Array(255);
  for (let value = -127; value <= 127; value++) {
    const share = (Math.abs(value) / 127) ** 0.85;
    const end = ends[value < 0 ? 0 : 1]!;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(middle[c]! + (end[c]! - middle[c]!) * share * 0.92));
    ramp[127 + value] = 0xff000000 | (b! << 16) | (g! << 8) | r!;
  }
  RAMPS.set(palette, ramp);
  return ramp;
}

export function rgb(colour: number): string {
  return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
}

/** The ramp's entry of `value` where `most` is its end. */
export function shade(ramp: Uint32Array, value: number, most: number): number {
  if (!(most > 0) || Number.isNaN(value)) return ramp[127]!;
  return ramp[127 + Math.max(-127, Math.min(127, Math.round((value / most) * 127)))]!;
}

/** A canvas that is kept and only grows, with its pixels as 32-bit numbers. */
export class Pixels {
  readonly canvas = document.createElement("canvas");
  private context = this.canvas.getContext("2d")!;
  private image: ImageData | null = null;
  words = new Uint32Array(0);

  resize(width: number, height: number): void {
    if (this.image && this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.image = this.context.createImageData(width, height);
    this.words = new Uint32Array(this.image.data.buffer);
  }

  put(): void {
    if (this.image) this.context.putImageData(this.image, 0, 0);
  }
}

/** Makes a canvas as sharp as the screen; its context then counts in CSS pixels. */
export function sharpen(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const scale = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  const context = canvas.getContext("2d")!;
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
