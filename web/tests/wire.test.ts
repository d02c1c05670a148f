import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { half, unpack } from "../hosts/wire";

const bytes = new Uint8Array(readFileSync(`${import.meta.dirname}/message.safetensors`));

test("reads what Python wrote, byte for byte", () => {
  const message = unpack<Record<string, any>>(bytes);
  expect(message.text).toBe(" été\n→ 日本");
  expect(message.number).toBe(0.1);
  expect(message.infinite).toBe(-Infinity);
  expect(message.undefined).toBeNaN();
  expect(message.nothing).toBeNull();
  expect(message.flag).toBe(true);
  expect(message.bytes).toEqual({ data: Uint8Array.of(0, 1, 2, 3, 4, 5), shape: [2, 3] });
  expect(message.ids).toEqual({ data: Int32Array.of(-1, 0, 49151), shape: [3] });
  expect(message.exact).toEqual({ data: Float32Array.of(0.1, Math.PI, -1e-30, 3e38), shape: [2, 2] });
  expect(message.empty).toEqual({ data: new Float32Array(0), shape: [0] });
  expect(message.inner.map((one: { name: string }) => one.name)).toEqual(["edges", "one"]);
  const halves = [0, -0, 1, -2, 65504, 2 ** -14, 2 ** -24, 0.333, Infinity];
  expect([...message.inner[0].halves.data].map((value, i) => [value, halves[i]])).toSatisfy((pairs: [number, number][]) =>
    pairs.every(([got, wanted]) => Object.is(got, wanted) || Math.abs(got - wanted) <= Math.abs(wanted) / 2048),
  );
});

test("reads from the middle of a larger buffer", () => {
  const padded = new Uint8Array(bytes.length + 5);
  padded.set(bytes, 3);
  expect(unpack<Record<string, any>>(padded.subarray(3, 3 + bytes.length)).ids.data[2]).toBe(49151);
});

test("half precision: every number there is", () => {
  expect(half(0x3555)).toBeCloseTo(1 / 3, 3);
  expect(half(0x7c01)).toBeNaN();
  expect(Object.is(half(0x8000), -0)).toBe(true);
  const finite = Array.from({ length: 0x7c00 }, (_, bits) => half(bits));
  expect(finite.every((value, bits) => bits === 0 || value > finite[bits - 1]!)).toBe(true);
  expect(finite.at(-1)).toBe(65504);
});

test("refuses a message that is cut short", () => {
  expect(() => unpack(bytes.subarray(0, 40))).toThrow(/cut short/);
  expect(() => unpack(bytes.subarray(0, 4))).toThrow();
  expect(() => unpack(bytes.subarray(0, bytes.length - 3))).toThrow(/cut short/);
});
