// Probes and steering as CSV files.

import type { ProbeLadder } from "../generated/payloads";
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
