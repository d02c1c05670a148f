// Data of the user's that are too long for an address, kept for as long as the tab is open.

import type { DataSpec } from "../generated/payloads";

const KEY = "llm-workings-network-data";
type Own = Pick<DataSpec, "csv" | "painted">;

export function keep({ csv, painted }: DataSpec): void {
  try {
    if (csv || painted.length > 0) sessionStorage.setItem(KEY, JSON.stringify({ csv, painted }));
  } catch {
    // a browser that keeps nothing: the address then says only which kind of data it was
  }
}

export function kept(): Own | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Own | null;
  } catch {
    return null;
  }
}
