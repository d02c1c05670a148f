// A patching payload as a grid: which cell of the picture is which patch, and what it is called.

import type { Patching, PatchedPlace } from "../../generated/payloads";
import type { Change, State } from "../../hosts/contract";
import type { Cell } from "../grid";
import { readIndex } from "../heads";
import { visible } from "../tokens";

/** One patch: the layer, and the head, neuron and position where they are told apart. */
export interface Spot {
  layer: number;
  unit: number | null; // null: all of them, or of "nodes" the MLP
  position: number | null;
}

export interface Layout {
  rows: number;
  columns: number;
  /** Across: the positions of the text, the layers, or neurons that stand one after another. */
  across: "position" | "layer" | "neuron" | "none";
  down: "layer" | "head" | "neuron" | "unit";
  rowName: (row: number) => string;
  columnName: (column: number) => string;
  spot: (cell: Cell) => Spot | null;
  cell: (spot: Spot) => Cell | null;
}

const NEURONS = 48; // in a row
export const MOST_ROWS = 30; // of the heads or neurons that are shown by position

const has = (payload: Patching, axis: string) => (payload.axes as string[]).includes(axis);
export const byPosition = (payload: Patching) => has(payload, "position");
export const counted = (payload: Patching): "head" | "neuron" | "node" | null =>
  (["head", "neuron", "node"] as const).find((axis) => has(payload, axis)) ?? null;

/** Where a patch's value stands in `values`, or -1. */
export function indexOf(payload: Patching, spot: Spot): number {
  const [, units, positions] = payload.values.shape as [number, number, number];
  const layer = payload.layers.indexOf(spot.layer);
  const unit = spot.unit ?? (counted(payload) === "node" ? payload.model.n_heads : 0);
  const position = spot.position ?? 0;
  return layer < 0 || unit >= units || position >= positions ? -1 : (layer * units + unit) * positions + position;
}

export function valueAt(payload: Patching, spot: Spot): number {
  return payload.values.data[indexOf(payload, spot)] ?? NaN;
}

/** How far a value is from where nothing moves, in shares of clean − corrupted; positive is towards clean. */
export function moved(payload: Patching, value: number): number {
  const still = payload.direction === "denoising" ? payload.corrupted_value : payload.clean_value;
  const span = payload.comparable ? payload.clean_value - payload.corrupted_value : 1;
  return (value - still) / span;
}

/** 0 as in the corrupted run, 1 as in the clean one. */
export function normalized(payload: Patching, value: number): number {
  return (value - payload.corrupted_value) / (payload.clean_value - payload.corrupted_value);
}

/** The largest distance from where nothing moves, of what is computed. */
export function furthest(payload: Patching): number {
  let most = 0;
  for (const value of payload.values.data) {
    const distance = Math.abs(moved(payload, value));
    if (distance > most) most = distance; // false for NaN
  }
  return most;
}

export function layoutOf(payload: Patching, every = false): Layout {
  const { layers } = payload;
  const [, units, positions] = payload.values.shape as [number, number, number];
  const what = counted(payload);
  if (what === null) {
    const across = byPosition(payload) ? "position" : "none";
    return {
      rows: layers.length, columns: positions, across, down: "layer",
      rowName: (row) => String(layers[row]),
      columnName: (column) => (across === "position" ? visible(payload.clean[column]!) : "all positions"),
      spot: ({ row, column }) => ({ layer: layers[row]!, unit: null, position: across === "position" ? column : null }),
      cell: ({ layer, position }) => found(layers.indexOf(layer), position ?? 0),
    };
  }
  if (byPosition(payload)) return unitsByPosition(payload, every);
  if (what === "neuron") {
    const columns = Math.min(NEURONS, units);
    const rows = Math.ceil((layers.length * units) / columns);
    return {
      rows, columns, across: "neuron", down: "neuron",
      rowName: (row) => String((row * columns) % units),
      columnName: (column) => (column % 8 === 0 ? `+${column}` : ""),
      spot({ row, column }) {
        const at = row * columns + column;
        return at < layers.length * units ? { layer: layers[Math.floor(at / units)]!, unit: at % units, position: null } : null;
      },
      cell({ layer, unit }) {
        const at = layers.indexOf(layer) * units + (unit ?? 0);
        return found(Math.floor(at / columns), at % columns);
      },
    };
  }
  // Heads down and layers across, as in the atlas; of all nodes, the MLPs stand in the last row.
  const mlp = what === "node" ? payload.model.n_heads : -1;
  return {
    rows: units, columns: layers.length, across: "layer", down: "head",
    rowName: (row) => (row === mlp ? "MLP" : String(row)),
    columnName: (column) => String(layers[column]),
    spot: ({ row, column }) => ({ layer: layers[column]!, unit: row === mlp ? null : row, position: null }),
    cell: ({ layer, unit }) => found(unit ?? mlp, layers.indexOf(layer)),
  };
}

/** Heads or neurons by position: a row each of the strongest one a layer, or of all (the strongest neurons). */
function unitsByPosition(payload: Patching, every: boolean): Layout {
  const [, units, positions] = payload.values.shape as [number, number, number];
  const strength = (layer: number, unit: number) => {
    let most = -1;
    for (let position = 0; position < positions; position++) {
      const size = Math.abs(moved(payload, payload.values.data[(layer * units + unit) * positions + position]!));
      if (size > most) most = size;
    }
    return most;
  };
  const all = payload.layers.flatMap((layer, i) => Array.from({ length: units }, (_, unit) => ({ layer, unit, most: strength(i, unit) })));
  let rows = all;
  if (counted(payload) === "neuron") rows = [...all].sort((a, b) => b.most - a.most).slice(0, MOST_ROWS);
  else if (!every) {
    rows = payload.layers.map((layer) => all.filter((one) => one.layer === layer).reduce((a, b) => (b.most > a.most ? b : a)));
  }
  return {
    rows: rows.length, columns: positions, across: "position", down: "unit",
    rowName: (row) => `${rows[row]!.layer}.${rows[row]!.unit}`,
    columnName: (column) => visible(payload.clean[column]!),
    spot: ({ row, column }) => ({ layer: rows[row]!.layer, unit: rows[row]!.unit, position: column }),
    cell: ({ layer, unit, position }) => found(rows.findIndex((one) => one.layer === layer && one.unit === unit), position ?? 0),
  };
}

function found(row: number, column: number): Cell | null {
  return row < 0 || column < 0 ? null : { row, column };
}

// ---- how a pinned patch is written in the state --------------------------------------------------

export function readSpot(payload: Patching, state: State): Spot | null {
  const what = counted(payload);
  const named = what === "neuron" ? state.neuron : what === null ? undefined : state.pin;
  const pair = /^(\d+)\.(\d+)$/.exec(named ?? "");
  const layer = pair ? Number(pair[1]) : what === null || what === "node" ? readIndex(state.layer, payload.model.n_layers) : null;
  if (layer === null) return null;
  const position = byPosition(payload) ? readIndex(state.position, payload.clean.length) : null;
  if (byPosition(payload) && position === null) return null;
  const spot = { layer, unit: pair ? Number(pair[2]) : null, position };
  return indexOf(payload, spot) < 0 ? null : spot;
}

export const CLEARED = { pin: null, layer: null, neuron: null, position: null };

export function pinSpot(payload: Patching, spot: Spot, change: Change): void {
  const what = counted(payload);
  const name = spot.unit === null ? null : `${spot.layer}.${spot.unit}`;
  change({
    pin: what === "neuron" ? null : name,
    neuron: what === "neuron" ? name : null,
    layer: name === null ? String(spot.layer) : null,
    position: spot.position === null ? null : String(spot.position),
  });
}

/** The site and place that `patched_answer` is asked for. */
export function siteOf(payload: Patching, spot: Spot): { kind: Exclude<Patching["kind"], "nodes">; layer: number; unit: number | null; where: number | null } {
  const kind = payload.kind === "nodes" ? (spot.unit === null ? "mlp_out" : "z") : payload.kind;
  return { kind, layer: spot.layer, unit: counted(payload) === null ? null : spot.unit, where: spot.position };
}

const PARTS: Record<string, string> = {
  resid_pre: "the stream before layer", resid_mid: "the stream after the attention of layer", resid_post: "the stream after layer",
  attn_out: "the attention of layer", mlp_out: "the MLP of layer", z: "head", q: "the query of head", k: "the keys of head",
  v: "the values of head", pattern: "the pattern of head", mlp_post: "neuron",
};

/** "head 23.3", "the stream before layer 16 at 9 ·John". */
export function nameOf(payload: Patching, spot: Spot): string {
  const { kind, unit } = siteOf(payload, spot);
  const shared = (kind === "k" || kind === "v") && payload.model.n_key_value_heads < payload.model.n_heads;
  const part = shared ? PARTS[kind]!.replace("head", "key-value head") : PARTS[kind]!;
  const where = spot.position === null ? "" : ` at ${spot.position} ${visible(payload.clean[spot.position]!)}`;
  const all = unit === null && kind in HEADS ? ` (${HEADS[kind]})` : "";
  return `${unit === null ? part.replace(/(key-value )?head$/, "layer").replace(/^neuron$/, "layer") : part} ${spot.layer}${unit === null ? "" : `.${unit}`}${all}${where}`;
}
const HEADS: Record<string, string> = { z: "all heads", q: "all heads", k: "all heads", v: "all heads", pattern: "all heads", mlp_post: "all neurons" };

export const spotOf = ({ layer, unit, position }: PatchedPlace): Spot => ({ layer, unit, position });
