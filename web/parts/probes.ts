// What a probe ladder's payload says of one stop, counted in the page: who was taken for whom, and where.

import type { ProbeLadder } from "../generated/payloads";
import { LabError } from "../hosts/contract";
import type { Drawing } from "./curves";

export const stopName = (stop: string): string => (/^resid_pre\.0$/.test(stop) ? "the embedding" : stop);
export const scoreName = (payload: ProbeLadder): string => (payload.kind === "classes" ? "accuracy" : "R²");

export function bestStop({ score, done }: ProbeLadder): number {
  let best = 0;
  for (let i = 1; i < done; i++) if (score.data[i]! > score.data[best]!) best = i;
  return best;
}

const at = (payload: ProbeLadder, stop: number, item: number): number => payload.predictions.data[stop * payload.labels.shape[0]! + item]!;

/** `[true class][said class]`, how often. */
export function confusion(payload: ProbeLadder, stop: number): number[][] {
  const counts = payload.classes.map(() => payload.classes.map(() => 0));
  payload.labels.data.forEach((label, item) => counts[label]![at(payload, stop, item)]!++);
  return counts;
}

export interface Example {
  text: [string, string, string]; // before the word, the word, after it
  said: string;
  is: string;
  off: number;
}

/** The test items that the probe is wrong about (of values, those it is furthest from), the worst first. */
export function wrongOnes(payload: ProbeLadder, stop: number): Example[] {
  const found: Example[] = [];
  payload.labels.data.forEach((label, item) => {
    const said = at(payload, stop, item);
    const off = Math.abs(said - label);
    if (off === 0 || (payload.kind === "values" && off < 1)) return;
    const letters = [...payload.sentences[payload.item_sentence.data[item]!]!];
    const [begin, end] = [payload.item_begin.data[item]!, payload.item_end.data[item]!];
    const name = (value: number) => (payload.kind === "classes" ? payload.classes[value]! : value.toFixed(1).replace("-", "−"));
    found.push({ text: [letters.slice(0, begin).join(""), letters.slice(begin, end).join(""), letters.slice(end).join("")], said: name(said), is: name(label), off });
  });
  return payload.kind === "classes" ? found : found.toSorted((a, b) => b.off - a.off);
}

export interface Bucket {
  name: string;
  count: number;
  score: number; // accuracy, or the mean absolute error of values
}

const BEGINS = [0, 1, 2, 4, 8, 16, 32];

/** How well words are read by where they stand; none where all stand in one place. */
export function byPosition(payload: ProbeLadder, stop: number): Bucket[] {
  const sums = BEGINS.map(() => ({ count: 0, good: 0 }));
  payload.labels.data.forEach((label, item) => {
    const bucket = sums[BEGINS.findLastIndex((begin) => begin <= payload.item_word.data[item]!)]!;
    bucket.count++;
    const off = Math.abs(at(payload, stop, item) - label);
    bucket.good += payload.kind === "classes" ? Number(off === 0) : off;
  });
  const found = sums.flatMap(({ count, good }, i) => {
    const next = BEGINS[i + 1];
    const name = next === undefined ? `${BEGINS[i]! + 1} on` : next === BEGINS[i]! + 1 ? String(next) : `${BEGINS[i]! + 1}–${next}`;
    return count ? [{ name, count, score: good / count }] : [];
  });
  return found.length > 1 ? found : [];
}

/** The axis that both ladders share: the stops, named as layers. */
const axis = (payload: ProbeLadder) => ({
  x: payload.stops.map((_, i) => i),
  xTicks: payload.stops.flatMap((_, i) => (i === 0 ? [{ at: 0, label: "emb" }] : (i - 1) % (payload.stops.length > 16 ? 5 : 1) === 0 && (i > 1 || payload.stops.length < 16) ? [{ at: i, label: String(i - 1) }] : [])),
  xTitle: "after layer (emb: the embedding, before the first)",
});
const known = (values: Float32Array) => values.some((value) => Number.isFinite(value));

export function scores(payload: ProbeLadder): Drawing {
  const low = Math.min(0, ...[payload.score, payload.shuffled, payload.control].flatMap(({ data }) => [...data].filter(Number.isFinite)));
  const floor = payload.kind === "classes" ? 0 : Math.max(-0.5, Math.floor(low * 4) / 4);
  return {
    ...axis(payload),
    domain: [floor, 1],
    ticks: floor < 0 ? [floor, 0, 0.25, 0.5, 0.75, 1] : [0, 0.25, 0.5, 0.75, 1],
    curves: [
      ...(known(payload.control.data) ? [{ name: "control task", values: payload.control.data, colour: "--key", dash: "6 3" }] : []),
      { name: "shuffled labels", values: payload.shuffled.data, colour: "--ink-soft", dash: "2 3" },
      ...(known(payload.mlp.data) ? [{ name: "hidden layer", values: payload.mlp.data, colour: "--query", dash: "9 3 2 3" }] : []),
      { name: "linear probe", values: payload.score.data, colour: "--accent", width: 2.5, low: payload.low.data, high: payload.high.data },
    ],
    levels: [
      { name: payload.kind === "classes" ? "most common label" : "the mean", value: payload.majority, dash: "8 4" },
      ...(payload.lookup === null ? [] : [{ name: "dictionary", value: payload.lookup, dash: "1 4" }]),
    ],
  };
}

export function bits(payload: ProbeLadder): Drawing {
  const uniform = payload.uniform_bits ?? 1;
  const top = Math.max(uniform, ...[...payload.bits.data].filter(Number.isFinite)) * 1.06;
  const step = top > 3 ? 1 : top > 1.5 ? 0.5 : 0.25;
  return {
    ...axis(payload),
    domain: [0, top],
    ticks: Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => i * step),
    curves: [{ name: "online code", values: payload.bits.data, colour: "--accent", width: 2 }],
    levels: [{ name: "uniform code", value: uniform, dash: "8 4" }],
  };
}

// ---- the user's own texts --------------------------------------------------------------------------

export interface Checked {
  counts: Map<string, number>;
  texts: number;
  trouble: string | null; // what the lab would refuse, said while it is typed
}
const FEWEST = 5;

/** What is wrong with labelled lines, before they are sent. */
export function checkLabelled(text: string): Checked {
  const counts = new Map<string, number>();
  const labels = new Map<string, string>();
  let trouble: string | null = null;
  let texts = 0;
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const cut = line.includes("\t") ? line.indexOf("\t") : line.indexOf("|");
    const [label, said] = [line.slice(0, Math.max(cut, 0)).trim(), line.slice(cut + 1).trim()];
    if (cut < 0) trouble ??= `Line ${i + 1} has no label: “${line.trim().slice(0, 40)}”. Write the label, a | or a tab, then the text.`;
    else if (!label || !said) trouble ??= `Line ${i + 1}: the ${label ? "text" : "label"} is empty.`;
    else {
      texts++;
      const key = said.toLowerCase().split(/\s+/).join(" ");
      const before = labels.get(key);
      if (before === undefined) counts.set(label, (counts.get(label) ?? 0) + 1);
      else if (before !== label) trouble ??= `Line ${i + 1}: “${said.slice(0, 40)}” has two labels, ${before} and ${label}.`;
      labels.set(key, before ?? label);
    }
  });
  const few = [...counts].find(([, n]) => n < FEWEST);
  if (counts.size === 0) trouble ??= "There are no texts yet.";
  else if (counts.size === 1) trouble ??= `There is one label only, ${[...counts.keys()][0]}. A probe tells two or more apart.`;
  else if (few) trouble ??= `${few[0]} has ${few[1]} different text${few[1] > 1 ? "s" : ""}; each label needs ${FEWEST}.`;
  return { counts, texts, trouble };
}

export interface OwnTreebank {
  name: string;
  text: string;
  used: number; // sentences
  of: number;
}
const ROOM = 199_000; // characters that the lab reads of one text
const KEY = "llm-workings-treebank";

/** The first sentences of a CoNLL-U file, as many as the lab reads; what no probe needs is blanked out, and
    lines keep their numbers. Throws a `LabError` for a file that is none. */
export function readTreebank(name: string, content: string): OwnTreebank {
  const lines: string[] = [];
  let [room, used, of, end, inside] = [ROOM, 0, 0, 0, false];
  for (const raw of content.replace(/^\ufeff/, "").split(/\r?\n/).concat("")) {
    const row = raw.trim() !== "" && !raw.startsWith("#");
    let line = raw;
    if (row) {
      const cells = raw.split("\t");
      if (cells.length === 10) {
        for (const column of [4, 8]) cells[column] = "_";
        if (cells[1] !== "_") cells[2] = "_"; // of the word _ the lemma says that it is one
        cells[9] = cells[9]!.includes("SpaceAfter=No") ? "SpaceAfter=No" : "_";
        line = cells.join("\t");
      }
      inside = true;
    } else if (raw.startsWith("#") && !/^#\s*text\s*=/.test(raw)) line = "#";
    if (raw.trim() === "" && inside) {
      of++;
      inside = false;
      if (room >= 0) [used, end] = [of, lines.length];
    }
    room -= line.length + 1;
    if (room >= 0) lines.push(line);
  }
  if (of === 0) throw new LabError(`${name} has no sentence in it.`, "A CoNLL-U file has a line a word, ten columns between tabs, and an empty line after each sentence.");
  return { name, text: lines.slice(0, end).join("\n") + "\n", used, of };
}

/** The file stays for as long as the tab is open: it is too long for an address. */
export function keepTreebank(file: OwnTreebank): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(file));
  } catch {
    // a browser that keeps nothing: after a reload the file is chosen again
  }
}
export function keptTreebank(): OwnTreebank | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "null") as OwnTreebank | null;
  } catch {
    return null;
  }
}
