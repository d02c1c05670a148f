// Pictures as pixels on a canvas.

import type { NdArray } from "../../generated/payloads";

/** `[row, column, channel]` bytes as red, green, blue and a full alpha. */
export function opaque({ data }: NdArray<Uint8Array>): Uint8ClampedArray {
  const out = new Uint8ClampedArray((data.length / 3) * 4);
  for (let i = 0; i < data.length / 3; i++) {
    for (let c = 0; c < 3; c++) out[4 * i + c] = data[3 * i + c]!;
    out[4 * i + 3] = 255;
  }
  return out;
}

/** A change around middle grey, `times` as large as it is. */
export function enlarged({ data }: NdArray<Float32Array>, times: number): Uint8ClampedArray {
  const out = new Uint8ClampedArray((data.length / 3) * 4);
  for (let i = 0; i < data.length / 3; i++) {
    for (let c = 0; c < 3; c++) out[4 * i + c] = 127.5 + 255 * times * data[3 * i + c]!;
    out[4 * i + 3] = 255;
  }
  return out;
}

export function paint(canvas: HTMLCanvasElement, pixels: Uint8ClampedArray, rows: number, columns: number): void {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  image.data.set(pixels);
  context.putImageData(image, 0, 0);
}

/** The same as a PNG's data URL, for a file. */
export function url(pixels: Uint8ClampedArray, rows: number, columns: number): string {
  const canvas = document.createElement("canvas");
  paint(canvas, pixels, rows, columns);
  return canvas.toDataURL();
}

/** One of `[picture, row, column, channel]`. */
export function thumbnail({ data, shape }: NdArray<Uint8Array>, at: number): Uint8ClampedArray {
  const [, rows, columns] = shape as [number, number, number, number];
  const size = rows * columns * 3;
  return opaque({ data: data.subarray(at * size, (at + 1) * size), shape: [rows, columns, 3] });
}
