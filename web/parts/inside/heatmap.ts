// What the picture heatmap's payload says of its rows, columns and cells.

import type { ActivationHeatmap } from "../../generated/payloads";
import { fit, type Surface } from "../grid";
import { marksOf, type Shades, type Sheet } from "../heatmap/sheet";
import { three } from "../numbers";
import { hueOf } from "./marks";

export const valueAt = (payload: ActivationHeatmap, unit: number, picture: number): number => payload.values.data[unit * payload.n + picture]!;

export function pictureSheet(payload: ActivationHeatmap, shades: Shades): Sheet {
  const unitAt = (row: number) => payload.unit_order.data[row]!;
  const pictureAt = (column: number) => payload.picture_order.data[column]!;
  return {
    label: `${payload.units.length} units of ${payload.layer} by ${payload.n} pictures`,
    rows: payload.units.length,
    columns: payload.n,
    name: (row) => `${unitAt(row)}`,
    marks: (row) => marksOf(payload.units[unitAt(row)]!.flags),
    fill: (palette, row, column) => shades.fill(palette, unitAt(row), pictureAt(column)),
    negative: (row, column) => shades.negative(unitAt(row), pictureAt(column)),
    reading: ({ row, column }) => {
      const [unit, picture] = [unitAt(row), pictureAt(column)];
      return `Unit ${unit}, ${payload.set}:${picture}, ${payload.net.classes[payload.labels.data[picture]!]}: ${three(valueAt(payload, unit, picture))}. ${payload.units[unit]!.flags.join("; ")}`;
    },
  };
}

export interface Run {
  label: number;
  from: number;
  to: number;
}

/** The columns of each class where they stand together; none where they do not. */
export function runs({ order, picture_order, labels }: ActivationHeatmap): Run[] {
  if (order !== "class") return [];
  const found: Run[] = [];
  picture_order.data.forEach((picture, column) => {
    const label = labels.data[picture]!;
    const last = found.at(-1);
    if (last?.label === label) last.to = column + 1;
    else found.push({ label, from: column, to: column + 1 });
  });
  return found;
}

/** The classes above the pictures: by name where they stand together, else a square each. */
export function drawClasses(payload: ActivationHeatmap, surface: Surface): void {
  const { context, palette, left, top } = surface;
  context.font = `12px ${palette.sans}`;
  const together = runs(payload);
  for (const { label, from, to } of together) {
    const x = Math.max(left, surface.x(from));
    const room = surface.x(to) - x;
    if (room < 2) continue;
    context.fillStyle = palette.categories[hueOf(label)]!;
    context.fillRect(x, top - 5, room - 1, 4);
    context.fillStyle = palette.ink;
    if (room > 20) context.fillText(fit(context, payload.net.classes[label]!, room - 3), x, 10);
    context.fillStyle = palette.line;
    context.fillRect(surface.x(to) - 0.5, top, 1, surface.height);
  }
  if (together.length) return;
  for (let column = surface.columns[0]; column < surface.columns[1]; column++) {
    context.fillStyle = palette.categories[hueOf(payload.labels.data[payload.picture_order.data[column]!]!)]!;
    context.fillRect(Math.max(left, surface.x(column)), top - 8, surface.cellWidth, 7);
  }
}
