// The columns of the table of methods: what each measures, which way is better, and what chance gives.

import type { AttributionTable, TableRow } from "../../generated/payloads";

type Measure = Exclude<keyof TableRow, "name" | "family">;
export interface Column {
  key: Measure;
  title: string;
  about: string;
  best: "high" | "low" | "zero";
  most: number | null; // a full bar; null: no bar
  chance: number | null;
  percent?: boolean;
}

export function columnsOf(payload: AttributionTable): Column[] {
  const mark: Column[] = payload.mark_area === null ? [] : [
    { key: "pointing_mark", title: "points at the mark", about: "how often the strongest place lies on the mark or next to it", best: "high", most: 1, chance: null, percent: true },
    { key: "on_mark", title: "mass on the mark", about: "the mark's share of all that is positive", best: "high", most: 1, chance: payload.mark_area, percent: true },
  ];
  return [
    ...mark,
    { key: "pointing", title: "points at the figure", about: "how often the strongest place lies on the figure or next to it", best: "high", most: 1, chance: null, percent: true },
    { key: "mass", title: "mass on the figure", about: "the figure's share of all that is positive", best: "high", most: 1, chance: payload.area, percent: true },
    { key: "deletion", title: "deletion", about: "the area under the class's probability as the strongest pixels are covered", best: "low", most: 1, chance: payload.by_chance[0]! },
    { key: "insertion", title: "insertion", about: "the area under it as the strongest pixels alone are shown", best: "high", most: 1, chance: payload.by_chance[1]! },
    { key: "random", title: "random weights", about: "rank correlation with the map of random weights", best: "zero", most: 1, chance: null },
    { key: "random_absolute", title: "the same in size", about: "of the absolute values: an input that is large makes it look insensitive when it is not", best: "zero", most: 1, chance: null },
    { key: "error", title: "sum off by", about: "the median of |sum − what it should be| over that", best: "low", most: null, chance: null, percent: true },
    { key: "seconds", title: "s a picture", about: "seconds a picture", best: "low", most: null, chance: null },
  ];
}

/** The rows, best first by a column; what is not known last. */
export function sorted(rows: TableRow[], column: Column): TableRow[] {
  const rank = (row: TableRow) => {
    const value = row[column.key];
    if (value === null) return Infinity;
    return column.best === "high" ? -value : column.best === "zero" ? Math.abs(value) : value;
  };
  return rows.toSorted((a, b) => rank(a) - rank(b));
}
