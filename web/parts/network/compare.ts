// What differs between branches: in their settings, and in what came of them.

import type { Branch, Config } from "../../generated/payloads";
import { three } from "../numbers";
import { full } from "./axis";
import { settingName } from "./naming";

export interface Row {
  name: string;
  cells: { text: string; exact: string; best: boolean }[];
}

function written(value: unknown): string {
  if (value === null || value === undefined) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(6))).replaceAll("-", "−");
  if (Array.isArray(value)) return value.map((one) => String(one).replaceAll("_", " ")).join("–");
  return String(value).replaceAll("_", " ");
}

/** The settings in which the branches are not all alike. */
export function differences(branches: Branch[]): Row[] {
  const [first] = branches;
  if (!first || branches.length < 2) return [];
  return (Object.keys(first.config) as (keyof Config)[])
    .filter((name) => branches.some((branch) => JSON.stringify(branch.config[name]) !== JSON.stringify(first.config[name])))
    .map((name) => ({
      name: settingName(name),
      cells: branches.map((branch) => ({ text: written(branch.config[name]), exact: String(branch.config[name] ?? "none"), best: false })),
    }));
}

/** What came of each at its tip. The best of a line is marked where they differ at the digits shown. */
export function results(branches: Branch[]): Row[] {
  const last = (values: ArrayLike<number>) => values[values.length - 1] ?? NaN;
  const line = (name: string, of: (branch: Branch) => number, better: "low" | "high" | null): Row | null => {
    const values = branches.map(of);
    const known = values.filter(Number.isFinite);
    if (known.length === 0 && better !== "low") return null;
    const best = better === null || known.length === 0 ? NaN : known.reduce((a, b) => (better === "low" ? Math.min(a, b) : Math.max(a, b)));
    const shown = values.map((value) => (better === null ? value.toLocaleString("en") : Number.isNaN(value) ? "–" : three(value)));
    const alike = new Set(shown).size < 2;
    return { name, cells: values.map((value, i) => ({ text: shown[i]!, exact: full(value), best: !alike && shown[i] === three(best) })) };
  };
  const tested = branches.some((branch) => Number.isFinite(last(branch.test.data)));
  return [
    line("steps", (branch) => branch.tip, null),
    line("training loss", (branch) => last(branch.train.data), "low"),
    tested ? line("test loss", (branch) => last(branch.test.data), "low") : null,
    line("training accuracy", (branch) => last(branch.train_accuracy.data), "high"),
    tested ? line("test accuracy", (branch) => last(branch.test_accuracy.data), "high") : null,
  ].filter((row) => row !== null);
}

/** Colour and dash of the branches chosen, by their place among them: never by colour alone. */
export const LOOKS: { colour: string; dash: string }[] = [
  { colour: "var(--category-1)", dash: "" },
  { colour: "var(--category-2)", dash: "6 3" },
  { colour: "var(--category-3)", dash: "2 3" },
  { colour: "var(--category-4)", dash: "9 3 2 3" },
  { colour: "var(--category-5)", dash: "12 4" },
  { colour: "var(--category-6)", dash: "4 2 1 2" },
];
