// What a picture on a grid is told when it is asked to draw: only what is in sight.

import type { Palette } from "./palette.svelte";

export interface Cell {
  row: number;
  column: number;
}

export interface Surface {
  context: CanvasRenderingContext2D;
  palette: Palette;
  width: number; // of the visible part, in CSS pixels
  height: number;
  rows: [number, number]; // the visible range, end excluded
  columns: [number, number];
  cellWidth: number;
  cellHeight: number;
  left: number; // the margins that stay in place while the cells scroll
  top: number;
  x: (column: number) => number;
  y: (row: number) => number;
}

/** Draws `text` from (x, y), shortened with an ellipsis to `room` pixels. */
export function fit(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let short = text;
  while (short.length > 1 && context.measureText(`${short}…`).width > room) short = short.slice(0, -1);
  return `${short}…`;
}

export function outline(surface: Surface, cell: Cell, colour: string, inset = 0, thickness = 2): void {
  const { context } = surface;
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  const x = surface.x(cell.column) + inset;
  const y = surface.y(cell.row) + inset;
  context.strokeRect(x, y, surface.cellWidth - 2 * inset, surface.cellHeight - 2 * inset);
}

/** Writes the columns' names into the margin above the cells, the marked one's in bold. */
export function columnNames(surface: Surface, names: string[], marked?: number): void {
  const { context, palette, columns, width, left, top, cellWidth } = surface;
  context.textAlign = "left";
  context.save();
  context.beginPath();
  context.rect(left, 0, width - left, top);
  context.clip();
  context.fillStyle = palette.ink;
  for (let column = columns[0]; column < columns[1]; column++) {
    context.font = `${column === marked ? 600 : 400} 12px ${palette.mono}`;
    context.fillText(fit(context, names[column]!, cellWidth - 8), surface.x(column) + 4, top / 2);
  }
  context.restore();
}
