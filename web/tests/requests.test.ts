import { expect, test, vi } from "vitest";
import { completed, fromState, toState } from "../hosts/requests";
import { Asked } from "../parts/asked.svelte";
import type { Watch } from "../hosts/contract";

test("an address names a view's request, each field in its own spelling", () => {
  const state = { prompt: "a b", model: "m", layer: "3", head: "1", ablate: "7.3", pin: "2.0", sort: "layer" };
  expect(fromState("head", state)).toEqual({ prompt: "a b", model: "m", layer: 3, head: 1 });
  expect(fromState("head", { layer: "three" })).toEqual({ layer: "three" }); // the lab says what is wrong with it
  expect(fromState("attention", { ablate: "7.3", ablation: "mean" })).toEqual({}); // its component asks for that itself
  expect(fromState("head_row", { query: "12" })).toEqual({ query: 12 });
});

test("a request names its address, and back", () => {
  const request = { prompt: "a", model: "smollm2-135m", layer: 3, head: 0, ablate: [] };
  expect(toState("head", request)).toEqual({ prompt: "a", model: "smollm2-135m", layer: "3", head: "0" });
  expect(fromState("head", toState("head", request))).toEqual({ prompt: "a", model: "smollm2-135m", layer: 3, head: 0 });
});

test("a follow-up takes the text and model that it was opened with, where it has such fields", () => {
  const opened = { prompt: "a", model: "m", layer: 3 };
  expect(completed("logit_lens", opened, { chosen: " x" })).toEqual({ prompt: "a", model: "m", chosen: " x" });
  expect(completed("network", opened, { steps: 5 })).toEqual({ steps: 5 });
});

test("an answer fills while it is worked out, and what has come of it stays when it is stopped", async () => {
  const asked = new Asked<number[]>();
  let watch!: Watch<number[]>;
  const stopped = vi.fn();
  asked.about("a", (given) => {
    watch = given;
    return new Promise((_, reject) => given.signal!.addEventListener("abort", () => (stopped(), reject(new Error("Cancelled.")))));
  });
  watch.step!({ what: "patching", done: 1, total: 4 });
  watch.sofar!([1]);
  expect([asked.value, asked.partial, asked.pending, asked.step?.done]).toEqual([[1], true, true, 1]);
  asked.cancel();
  await new Promise((resolve) => setTimeout(resolve));
  expect(stopped).toHaveBeenCalledOnce();
  expect([asked.value, asked.partial, asked.pending, asked.error?.message]).toEqual([[1], true, false, "Cancelled."]);
  const late = watch;
  asked.about("b", () => Promise.resolve([2, 3]));
  late.sofar!([9]); // of a question that nobody asks any more
  await new Promise((resolve) => setTimeout(resolve));
  expect([asked.value, asked.partial]).toEqual([[2, 3], false]);
});
