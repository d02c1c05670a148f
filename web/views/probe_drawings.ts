// Probes and steering as CSV files.

import type { ProbeLadder, ProbePositions, Steering, SteeringDoses, SteeringEffect } from "../generated/payloads";
import { csv } from "../parts/export";
import { three } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { inCell } from "../parts/patching/scale";
import { at, shadeOf, typesName, wordName, type By } from "../parts/positions/positions";
import { page, text } from "./drawings";

const number = (value: number): string => (Number.isFinite(value) ? String(Number(value.toPrecision(9))) : "");

/** The grid of layers and words; the line stands where the label has first been said. */
export function positionsSvg(payload: ProbePositions, by: By): string {
  const palette = readPalette();
  const [left, top, wide, high] = [60, 92, 96, 20];
  const below = top + payload.model.n_layers * high;
  let body = "";
  payload.words.forEach((_, column) => {
    body += text(left + column * wide + 4, 66, wordName(payload, column).slice(0, 12), palette.ink);
    body += text(left + column * wide + 4, 82, typesName(payload.word_types[column]!), palette.soft);
  });
  for (let row = 0; row < payload.model.n_layers; row++) {
    body += text(left - 8, top + row * high + 14, String(row), palette.soft, 'text-anchor="end"');
    payload.words.forEach((_, column) => {
      const value = payload[by].data[at(payload, { row, column })]!;
      if (!Number.isFinite(value)) return;
      const { fill, ink } = shadeOf(palette, payload, by, value);
      body += `<rect x="${left + column * wide}" y="${top + row * high}" width="${wide - 1}" height="${high - 1}" fill="${fill}"/>`;
      body += text(left + column * wide + (wide - 1) / 2, top + row * high + 14, inCell(value, wide, false), ink, 'text-anchor="middle"');
    });
  }
  if (payload.told_at && payload.model.causal) body += `<rect x="${left + payload.told_at * wide - 1.5}" y="54" width="2" height="${below - 54}" fill="${palette.ink}"/>`;
  const what = by === "score" ? `accuracy, paper at the most common label's ${three(payload.majority)}` : "accuracy less the control task's";
  body += text(20, below + 22, `${payload.site}, ${payload.n_train} sentences learned from, ${payload.n_test} tested on, seed ${payload.seed}`, palette.soft);
  return page(Math.max(640, left + 20 + payload.words.length * wide), below + 40, `${payload.task} in ${payload.model.title}: ${what}`, body, palette);
}

export function positionsCsv(payload: ProbePositions): string {
  const columns = ["score", "low", "high", "control", "selectivity", "shuffled"] as const;
  const rows: (string | number)[][] = [["layer", "word", "example", "different_words", ...columns, "majority", "dictionary"]];
  for (let row = 0; row < payload.model.n_layers; row++) {
    payload.words.forEach((words, column) => {
      const i = at(payload, { row, column });
      rows.push([row, column, words[0]!, payload.word_types[column]!, ...columns.map((name) => number(payload[name].data[i]!)), number(payload.majority), number(payload.lookup.data[column]!)]);
    });
  }
  return csv(rows);
}

export function ladderCsv(payload: ProbeLadder): string {
  const columns = ["score", "low", "high", "spearman", "control", "selectivity", "shuffled", "bits", "compression", "l2", "mlp", "mlp_control"] as const;
  const rows: (string | number)[][] = [["stop", ...columns, "majority", "dictionary"]];
  payload.stops.forEach((stop, i) => {
    rows.push([stop, ...columns.map((name) => number(payload[name].data[i]!)), number(payload.majority), payload.lookup === null ? "" : number(payload.lookup)]);
  });
  return csv(rows);
}

/** The texts, then the doses and the prompts where they were measured. */
export function steeringCsv(payload: Steering, doses: SteeringDoses | null, trial: SteeringEffect | null): string {
  const rows: (string | number)[][] = [["text", "prompt", "strength", "written", "score", "log_odds", "kl", "distinct_2"]];
  const prompt = payload.tokens.map(({ text }) => text).join("");
  for (const one of payload.written) rows.push([one.label, prompt, one.kind === "unsteered" ? 0 : payload.strength, one.text, one.tally, "", "", number(one.distinct)]);
  for (const one of trial?.columns ?? []) {
    one.texts.forEach((text, i) => rows.push([one.label, trial!.prompts[i]!, one.kind === "unsteered" ? 0 : trial!.strength, text, one.scores[i]!, "", "", ""]));
  }
  doses?.labels.forEach((label, i) => {
    doses.strengths.data.forEach((strength, j) => {
      const at = i * doses.strengths.data.length + j;
      rows.push([label, `mean of ${doses.done} prompts`, number(strength), "", "", number(doses.score.data[at]!), number(doses.divergence.data[at]!), number(doses.distinct.data[at]!)]);
    });
  });
  return csv(rows);
}
