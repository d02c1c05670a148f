// A stored run's place in the lab: the address that shows it again.

import type { Run } from "../hosts/lab";
import type { HeadRef } from "../generated/payloads";
import { writeHeads } from "../parts/heads";

/** The address, or null for a run that no page shows. */
export function reopened(run: Run): string | null {
  if (run.kind !== "view") return null;
  const { prompt, model, ablate, ablation, layer, head, query, chosen } = run.request as Record<string, string | number | HeadRef[] | null>;
  const params: Record<string, string> = { prompt: String(prompt), model: String(model) };
  if (Array.isArray(ablate) && ablate.length > 0) {
    params.ablate = writeHeads(ablate);
    params.ablation = String(ablation ?? "zero");
  }
  if (layer !== undefined && head !== undefined) params.pin = `${layer}.${head}`;
  if (query !== undefined && query !== null) params.query = String(query);
  if (typeof chosen === "string") params.chosen = chosen;
  const page = run.name.startsWith("head") ? "attention" : run.name.replaceAll("_", "-");
  return `/${page}?${new URLSearchParams(params)}`;
}
