// A stored run's place in the lab: the address that shows it again.

import type { HeadRef } from "../generated/payloads";
import type { ViewName } from "../hosts/contract";
import type { Run } from "../hosts/lab";
import { toState } from "../hosts/requests";
import { writeHeads } from "../parts/heads";
import { pathOf, viewOf } from "./pages";

/** The address, or null for a run that no page shows. */
export function reopened(run: Run): string | null {
  if (run.kind !== "view") return null;
  const detail = run.name === "head" || run.name === "head_row";
  if (!detail && !viewOf(run.name)) return null;
  const { layer, head, query, ablate, ablation, chosen } = run.request as Record<string, string | number | HeadRef[] | null>;
  const params = toState(run.name as ViewName, run.request);
  if (Array.isArray(ablate) && ablate.length > 0 && typeof ablate[0] === "object") {
    params.ablate = writeHeads(ablate);
    params.ablation = String(ablation ?? "zero");
  }
  if (detail) {
    delete params.layer;
    delete params.head;
    params.pin = `${layer}.${head}`;
  }
  if (query !== undefined && query !== null) params.query = String(query);
  if (typeof chosen === "string") params.chosen = chosen;
  return `${pathOf(detail ? "attention" : run.name)}?${new URLSearchParams(params)}`;
}
