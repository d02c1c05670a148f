// Probes and steering as CSV files.

import type { ProbeLadder, Steering, SteeringDoses, SteeringEffect } from "../generated/payloads";
import { csv } from "../parts/export";

const number = (value: number): string => (Number.isFinite(value) ? String(Number(value.toPrecision(9))) : "");

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
