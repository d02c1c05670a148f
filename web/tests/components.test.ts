import { readFileSync } from "node:fs";
import { flushSync, mount, unmount } from "svelte";
import { expect, test, vi } from "vitest";
import type { Attention, Guess } from "../generated/payloads";
import { LabError } from "../hosts/contract";
import { reopened } from "../lab/reopen";
import type { Run } from "../hosts/lab";
import Ablation from "../parts/Ablation.svelte";
import Answer from "../parts/Answer.svelte";
import { Asked } from "../parts/asked.svelte";
import TokenText from "../parts/TokenText.svelte";

const guess = (id: number, text: string, probability: number, rank: number): Guess => ({
  token: { id, text, special: false }, probability, logit: 0, rank,
});

function show(component: any, props: Record<string, unknown>) {
  const target = document.createElement("div");
  const mounted = mount(component, { target, props });
  flushSync();
  return { target, text: () => target.textContent!.replace(/\s+/g, " "), done: () => unmount(mounted) };
}

test("a token shows its leading space as a mark, and says its id", () => {
  const { target } = show(TokenText, { token: { id: 42, text: " Mary", special: false } });
  expect(target.querySelector("i")!.textContent).toBe("·");
  expect(target.querySelector(".token")!.getAttribute("title")).toBe("token 42");
});

test("an answer under ablation shows each token before and after, with its change", () => {
  const { target } = show(Answer, {
    after: [guess(1, " John", 0.5, 0), guess(2, " Mary", 0.25, 1)],
    before: [guess(2, " Mary", 0.75, 0), guess(1, " John", 0.125, 1)],
  });
  const rows = [...target.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("th, td.number")].map((cell) => cell.textContent!.trim()));
  expect(rows).toEqual([["·John", "0.500", "+0.375"], ["·Mary", "0.250", "−0.500"]]);
});

const attention = {
  model: { title: "MiniLM", answers: false, mask_token: null, causal: false },
  tokens: [], answer: [], unablated: [], answer_position: null,
} as unknown as Attention;
const heads = { ablate: [], ablation: "zero", pins: [], pending: false, onablate: () => {}, onpins: () => {}, onmode: () => {} };

test("a model that answers nothing says so, one that fills blanks says how", () => {
  expect(show(Ablation, { ...heads, payload: attention, seen: attention }).text()).toContain("MiniLM turns a text into vectors");
  const masked = { ...attention, model: { ...attention.model, title: "BERT", answers: true, mask_token: "[MASK]" } };
  expect(show(Ablation, { ...heads, payload: masked, seen: masked }).text()).toContain("BERT fills blanks. Write [MASK]");
});

test("ablating adds the pinned head, and its chip takes it back", () => {
  const onablate = vi.fn();
  const pin = { layer: 3, head: 1 };
  const others = { ...heads, payload: attention, seen: attention, onablate, pins: [pin] };
  const first = show(Ablation, { ...others, ablate: [{ layer: 0, head: 2 }] });
  [...first.target.querySelectorAll("button")].find((button) => button.textContent!.includes("Ablate head 3.1"))!.click();
  expect(onablate).toHaveBeenLastCalledWith([{ layer: 0, head: 2 }, pin]);
  const second = show(Ablation, { ...others, ablate: [{ layer: 0, head: 2 }, pin] });
  (second.target.querySelector('[aria-label="Put head 0.2 back"]') as HTMLElement).click();
  expect(onablate).toHaveBeenLastCalledWith([pin]);
});

test("of two questions only the later answer counts, and an error keeps what was seen", async () => {
  const asked = new Asked<number>();
  let slow!: (value: number) => void;
  asked.about("a", () => new Promise((resolve) => (slow = resolve)));
  asked.about("b", () => Promise.resolve(2));
  await Promise.resolve().then(() => {});
  slow(1);
  await new Promise((resolve) => setTimeout(resolve));
  expect([asked.value, asked.pending]).toEqual([2, false]);
  asked.about("c", () => Promise.reject(new LabError("No.", "Try d.")));
  await new Promise((resolve) => setTimeout(resolve));
  expect([asked.value, asked.error?.hint]).toEqual([2, "Try d."]);
});

test("a stored run opens again where it was made", () => {
  const run = (name: string, request: object, kind = "view") => ({ kind, name, request }) as unknown as Run;
  expect(reopened(run("logit_lens", { prompt: "a b", model: "m", chosen: " c" }))).toBe("/logit-lens?prompt=a+b&model=m&chosen=+c");
  expect(reopened(run("attention", { prompt: "a", model: "m", ablate: [{ layer: 3, head: 1 }], ablation: "mean" }))).toBe(
    "/attention?prompt=a&model=m&ablate=3.1&ablation=mean",
  );
  expect(reopened(run("head", { prompt: "a", model: "m", layer: 2, head: 0, ablate: [] }))).toBe("/attention?prompt=a&model=m&pin=2.0");
  expect(reopened(run("smollm2-135m", {}, "fetch"))).toBeNull();
});

test("the notebook host asks the kernel and keeps its state there", async () => {
  const bytes = new Uint8Array(readFileSync(`${import.meta.dirname}/message.safetensors`));
  const listeners = new Map<string, (...args: any[]) => void>();
  const traits: Record<string, unknown> = { _view: "no_such_view", _payload: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), _state: {} };
  const model = {
    get: (name: string) => traits[name], set: (name: string, value: unknown) => (traits[name] = value), save_changes: vi.fn(), send: vi.fn(),
    on: (event: string, listener: any) => void listeners.set(event, listener), off: (event: string) => void listeners.delete(event),
  };
  const { default: widget } = await import("../hosts/notebook");
  const el = document.createElement("div");
  document.body.append(el);
  const remove = widget.render({ model, el });
  flushSync();
  expect(el.textContent).toContain("no picture for the view “no_such_view”");
  expect([...listeners.keys()].sort()).toEqual(["change:_payload", "change:_state", "msg:custom"]);
  remove();
  expect(listeners.size).toBe(0);
}, 30_000); // it loads every view
