import { expect, test } from "vitest";
import type { Head } from "../generated/payloads";
import { canonical, LabError } from "../hosts/contract";
import { csv, copyable, python } from "../parts/export";
import { readHeads, readIndex, weight, writeHeads } from "../parts/heads";
import { bytes, count, exact, signed, three } from "../parts/numbers";
import { outside } from "../parts/outside";
import { pieces, visible } from "../parts/tokens";

const token = (text: string, special = false) => ({ id: 1, text, special });

test("three significant digits, with a true minus", () => {
  expect([0, 0.92113, 0.05, 1, 12345.6, -0.00123, 1e-7, NaN, Infinity].map(three)).toEqual([
    "0", "0.921", "0.0500", "1.00", "1.23×10⁴", "−0.00123", "1.00×10⁻⁷", "not a number", "∞",
  ]);
  expect(signed(0.5)).toBe("+0.500");
  expect(signed(-0.5)).toBe("−0.500");
});

/** The number that a text as "−1.5×10⁻⁷" says. */
function spelled(text: string): number {
  const raised = (digits: string) => [...digits].map((one) => "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(one)).map((i) => (i < 0 ? "-" : i)).join("");
  return Number(text.replace("−", "-").replace(/×10(.+)/, (_, digits) => `e${raised(digits)}`));
}

test("an exact float32 has the digits that tell it apart, and no more", () => {
  expect(exact(Math.fround(0.1))).toBe("0.1");
  expect(exact(Math.fround(1 / 3))).toBe("0.33333334");
  for (let i = 0; i < 2000; i++) {
    const value = Math.fround((Math.sin(i) * 10 ** ((i % 60) - 30)));
    expect(Math.fround(spelled(exact(value)))).toBe(value);
  }
});

test("counts and sizes", () => {
  expect([134515008, 22713216, 1.5e9, 300000, 1234].map(count)).toEqual(["135 M", "23 M", "1.5 B", "300 k", "1,234"]);
  expect([93_000_000, 512, 1500, 2.5e9].map(bytes)).toEqual(["93 MB", "512 bytes", "1.5 kB", "2.5 GB"]);
});

test("tokens are shown exactly", () => {
  expect(visible(token(" Mary"))).toBe("·Mary");
  expect(visible(token("  "))).toBe("··");
  expect(visible(token("a b"))).toBe("a b");
  expect(visible(token("\n\t"))).toBe("↵⇥");
  expect(pieces(token("a\\xe2\\x82"))).toEqual([{ text: "a", mark: false }, { text: "\\xe2\\x82", mark: true }]);
  expect(visible(token(""))).toBe("∅");
  expect(visible(token("<|im_start|>", true))).toBe("<|im_start|>");
  expect(pieces(token(" a"))).toEqual([{ text: "·", mark: true }, { text: "a", mark: false }]);
});

test("heads and indices in the address: what does not exist is left out", () => {
  expect(readHeads("7.3,29.8,30.0,1.9,x", 30, 9)).toEqual([{ layer: 7, head: 3 }, { layer: 29, head: 8 }]);
  expect(writeHeads(readHeads("7.3,29.8", 30, 9))).toBe("7.3,29.8");
  expect([readIndex("3", 4), readIndex("4", 4), readIndex("-1", 4), readIndex("", 4), readIndex(undefined, 4)]).toEqual([3, null, null, null, null]);
});

test("weights of the lower triangle, and of the whole square", () => {
  const tokens = [token("a"), token("b"), token("c")];
  const causal = { tokens, causal: true, pattern: { data: Float32Array.of(1, 0.25, 0.75, 0.5, 0.125, 0.375), shape: [6] } } as Head;
  expect([weight(causal, 0, 0), weight(causal, 1, 1), weight(causal, 2, 1), weight(causal, 0, 2)]).toEqual([1, 0.75, 0.125, 0]);
  const both = { ...causal, causal: false, pattern: { data: Float32Array.from({ length: 9 }, (_, i) => i), shape: [9] } };
  expect([weight(both, 0, 2), weight(both, 2, 0)]).toEqual([2, 6]);
});

test("equal requests read equal, whatever they leave out and in whatever order", () => {
  const short = canonical("attention", { prompt: "a" });
  expect(canonical("attention", { ablation: "zero", model: "smollm2-135m", ablate: [], prompt: "a" })).toBe(short);
  expect(canonical("attention", { prompt: "a", ablate: [{ head: 1, layer: 0 }] })).toBe(canonical("attention", { ablate: [{ layer: 0, head: 1 }], prompt: "a" }));
  expect(canonical("attention", { prompt: "b" })).not.toBe(short);
  expect(canonical("head", { prompt: "a" })).not.toBe(short);
});

test("errors keep their two sentences on the way", () => {
  const error = LabError.from({ kind: "BadInput", message: "There is no layer 99.", hint: "Layers run from 0 to 29.", given: { layer: 99 } });
  expect([error.message, error.hint, error.kind, error.given]).toEqual(["There is no layer 99.", "Layers run from 0 to 29.", "BadInput", { layer: 99 }]);
  expect(LabError.from("plain").message).toBe("plain");
});

test("files: CSV is quoted where it must be, Python is Python", () => {
  expect(csv([["a", 'say "x"', "1,2"], ["\n", 1, ""]])).toBe('a,"say ""x""","1,2"\r\n"\n",1,\r\n');
  expect(python({ layer: 1, on: true, none: null, text: 'a "b"\n' })).toBe('{"layer": 1, "on": True, "none": None, "text": "a \\"b\\"\\n"}');
  const copied = copyable("attention", { prompt: "a", model: "m", pin: "1.2", ablate: "0.1", ablation: "mean" }, { ablate: [{ layer: 0, head: 1 }], ablation: "mean" });
  expect(copied).toContain('    ablate=[{"layer": 0, "head": 1}],\n    ablation="mean",\n    state={"pin": "1.2"},\n');
});

test("what an address names that is not there is said, and can be left out", () => {
  const payload = { model: { n_layers: 2, n_heads: 4 }, tokens: [0, 1, 2] };
  expect(outside(payload, { pin: "1.3,0.0", position: "2", layer: "1", query: "x" })).toBeNull();
  expect(outside(payload, { pin: "1.3,2.0,0.4", position: "3", layer: "2" })).toEqual({
    said: "Not there: head 2.0, head 0.4, layer 2, position 3. Layers go from 0 to 1, heads from 0 to 3. The text's positions go from 0 to 2.",
    without: { pin: "1.3", layer: null, position: null },
  });
  expect(outside(payload, { key: "9" })!.said).toBe("Not there: position 9. The text's positions go from 0 to 2.");
  expect(outside({ units: [] }, { pin: "9.9" })).toBeNull();
});
