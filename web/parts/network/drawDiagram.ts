// The network on a canvas: edges, biases, and each unit as the picture of its function.

import type { Frame, Setting } from "../../generated/payloads";
import { fit } from "../grid";
import { three } from "../numbers";
import type { Palette } from "../palette.svelte";
import { BIAS, curve, type Edge, type Layout, type Node } from "./geometry";
import { unitName } from "./naming";
import { Pixels, rgb, shade, signedRamp } from "./paint";
import { edgeValue, scaleOf, unitIndex } from "./values";

export type ScaleBy = "unit" | "layer" | "network";
export type Values = "none" | "activation" | "gradient";

export interface Drawing {
  setting: Setting;
  frame: Frame;
  layout: Layout;
  edges: Edge[];
  widest: number; // the weight that is drawn as wide as it goes
  scale: ScaleBy;
  values: Values;
  image: Float32Array | null; // the sample's pixels, where inputs are a picture
  active: string | null; // hovered, else pinned
  path: number[] | null; // a way from an input to an output, a unit a layer, that is lit instead
  pinned: string | null;
  cursor: string | null;
}

const TILES = 64; // maps side by side in the sheet
const sheet = new Pixels();
const weights = new Pixels();

/** Which edges stand out: those of a path, those of the active unit, or the active edge alone. */
function related({ active, path }: Drawing, edge: Edge): boolean {
  if (path) return edge.place.startsWith("w") && path[edge.layer - 1] === edge.from && path[edge.layer] === edge.to;
  if (active === edge.place) return true;
  return active === `u${edge.layer}.${edge.to}` || active === `u${edge.layer - 1}.${edge.from}`;
}

export function drawDiagram(context: CanvasRenderingContext2D, palette: Palette, drawing: Drawing): void {
  const { layout, frame, active, path, edges } = drawing;
  const some = active !== null || path !== null;
  drawEdges(context, palette, drawing, some ? edges.filter((edge) => !related(drawing, edge)) : edges, some);
  if (some) drawEdges(context, palette, drawing, edges.filter((edge) => related(drawing, edge)), false);
  for (const node of layout.biases) {
    context.beginPath();
    context.arc(node.x, node.y, BIAS / 2, 0, 2 * Math.PI);
    context.fillStyle = palette.paper;
    context.fill();
    context.strokeStyle = palette.strong;
    context.lineWidth = 1;
    context.stroke();
    text(context, "1", node.x, node.y + 0.5, palette.soft, `12px ${palette.mono}`, "center");
  }
  const mapped = frame.maps.data.length > 0;
  if (mapped && frame.maps.shape[1]! > 1) fillSheet(drawing, palette);
  else if (drawing.setting.image_side) fillWeights(drawing, palette);
  for (const column of layout.units) for (const node of column) drawUnit(context, palette, drawing, node, mapped);
  names(context, palette, drawing);
}

function drawEdges(context: CanvasRenderingContext2D, palette: Palette, { layout, frame, widest }: Drawing, edges: Edge[], faint: boolean): void {
  context.lineCap = "butt";
  context.globalAlpha = faint ? 0.13 : edges.length > 400 ? 0.5 : 0.82;
  const thickest = edges.length > 400 ? 3 : 7;
  let dashed = false;
  for (const edge of edges) {
    const value = edgeValue(frame, edge);
    const { x0, y0, x1, y1, reach } = curve(layout, edge);
    const negative = value < 0;
    context.strokeStyle = negative ? palette.negative : palette.positive;
    context.lineWidth = 0.7 + thickest * Math.min(1, Math.abs(value) / widest);
    if (negative !== dashed) {
      context.setLineDash(negative ? [6, 3.5] : []);
      dashed = negative;
    }
    context.beginPath();
    context.moveTo(x0, y0);
    context.bezierCurveTo(x0 + reach, y0, x1 - reach, y1, x1, y1);
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/** The largest size among the units that share a unit's colour scale. */
export function scaleEnd(setting: Setting, frame: Frame, layer: number, unit: number, by: ScaleBy): number {
  const { layers } = setting.config;
  const sizes = frame.map_scale.data;
  const first = unitIndex(layers, layer, 0);
  if (by === "unit") return sizes[first + unit]!;
  const [from, to] = by === "layer" ? [first, first + layers[layer]!] : [0, sizes.length];
  let most = 0;
  for (let i = from; i < to; i++) most = Math.max(most, sizes[i]!);
  return most;
}

/** Every unit's map in its colours, side by side, one pixel a point; the highest y on top. */
function fillSheet({ setting, frame, scale }: Drawing, palette: Palette): void {
  const [count, high, wide] = frame.maps.shape as [number, number, number];
  const ramp = signedRamp(palette);
  const across = Math.min(TILES, count);
  sheet.resize(across * wide, Math.ceil(count / TILES) * high);
  const { data } = frame.maps;
  const { words } = sheet;
  let index = 0;
  // A single output that decides between two classes is coloured as its surface is: white where it is unsure.
  const { middle, reach } = scaleOf(setting);
  const decides = setting.task === "classes" && setting.config.layers.at(-1) === 1;
  setting.config.layers.forEach((units, layer) => {
    const last = decides && layer === setting.config.layers.length - 1;
    const shared = scale === "unit" ? 0 : scaleEnd(setting, frame, layer, 0, scale);
    for (let unit = 0; unit < units; unit++, index++) {
      const own = frame.map_scale.data[index]!;
      const most = last ? own * (0.8 / reach) : scale === "unit" ? 1 : own / (shared || 1);
      const shift = last ? -middle * (0.8 / reach) * 127 : 0;
      const left = (index % TILES) * wide;
      const top = Math.floor(index / TILES) * high;
      let from = index * high * wide;
      for (let row = high - 1; row >= 0; row--) {
        let to = (top + row) * across * wide + left;
        for (let column = 0; column < wide; column++) words[to++] = ramp[127 + Math.max(-127, Math.min(127, Math.round(data[from++]! * most + shift)))]!;
      }
    }
  });
  sheet.put();
}

function drawUnit(context: CanvasRenderingContext2D, palette: Palette, drawing: Drawing, node: Node, mapped: boolean): void {
  const { setting, frame, layout, values, active, pinned, cursor } = drawing;
  const { layer, unit, size } = node;
  const [x, y] = [node.x - size / 2, node.y - size / 2];
  const { layers } = setting.config;
  const place = `u${layer}.${unit}`;
  const ramp = signedRamp(palette);
  context.fillStyle = palette.high;
  context.fillRect(x, y, size, size);
  if (layer === 0 && drawing.image) {
    const share = drawing.image[unit] ?? 0;
    context.fillStyle = palette.ink;
    context.globalAlpha = Math.min(1, Math.max(0, share));
    context.fillRect(Math.floor(x), Math.floor(y), Math.ceil(size), Math.ceil(size));
    context.globalAlpha = 1;
  } else if (mapped && frame.maps.shape[1]! > 1) {
    const [, high, wide] = frame.maps.shape as [number, number, number];
    const index = unitIndex(layers, layer, unit);
    context.imageSmoothingEnabled = true;
    // Half a pixel off each side, so that smoothing does not mix in the neighbour.
    context.drawImage(sheet.canvas, (index % TILES) * wide + 0.5, Math.floor(index / TILES) * high + 0.5, wide - 1, high - 1, x, y, size, size);
  } else if (mapped) drawLine(context, palette, drawing, node);
  else if (layer === 1 && setting.image_side) {
    context.imageSmoothingEnabled = false;
    context.drawImage(weights.canvas, unit * setting.image_side, 0, setting.image_side, setting.image_side, x, y, size, size);
  } else {
    const seen = frame.sample?.activations[layer]?.data;
    if (seen) {
      context.fillStyle = rgb(shade(ramp, seen[unit]!, Math.max(1e-12, ...seen.map(Math.abs))));
      context.fillRect(x, y, size, size);
    }
  }
  const marked = active === place || pinned === place;
  if (!(layer === 0 && drawing.image && !marked)) {
    context.strokeStyle = marked ? palette.ink : palette.strong;
    context.lineWidth = marked ? 2 : size < 14 ? 0.5 : 1;
    context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
  }
  if (pinned === place) frameAround(context, palette.accent, x - 4, y - 4, size + 8, []);
  if (cursor === place) frameAround(context, palette.accent, x - 7, y - 7, size + 14, [3, 2]);
  const pass = frame.sample;
  const { pitch, across } = layout.columns[layer]!;
  if (pass && values !== "none" && across === 1 && pitch - size >= 15) {
    const value = values === "activation" ? pass.activations[layer]?.data[unit] : layer === 0 ? undefined : pass.delta[layer - 1]?.data[unit];
    if (value !== undefined) {
      const colour = value < 0 ? palette.negative : value > 0 ? palette.positive : palette.soft;
      text(context, three(value), node.x, y + size + 9, colour, `12px ${palette.mono}`, "center");
    }
  }
}

function frameAround(context: CanvasRenderingContext2D, colour: string, x: number, y: number, size: number, dash: number[]): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.setLineDash(dash);
  context.strokeRect(x, y, size, size);
  context.setLineDash([]);
}

/** A unit's function of a single input, as a curve. */
function drawLine(context: CanvasRenderingContext2D, palette: Palette, { setting, frame, scale }: Drawing, node: Node): void {
  const wide = frame.maps.shape[2]!;
  const index = unitIndex(setting.config.layers, node.layer, node.unit);
  const share = frame.map_scale.data[index]! / (scaleEnd(setting, frame, node.layer, node.unit, scale) || 1) / 127;
  const { size } = node;
  const left = node.x - size / 2;
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left, node.y);
  context.lineTo(left + size, node.y);
  context.stroke();
  context.strokeStyle = palette.accent;
  context.lineWidth = 2;
  context.beginPath();
  for (let i = 0; i < wide; i++) {
    context.lineTo(left + (i / (wide - 1)) * size, node.y - frame.maps.data[index * wide + i]! * share * (size / 2 - 4));
  }
  context.stroke();
}

/** The first layer's weights, each unit's as the picture that it looks for, side by side. */
function fillWeights({ setting, frame, scale }: Drawing, palette: Palette): void {
  const side = setting.image_side;
  const { data, shape } = frame.weights[0]!;
  const out = shape[1]!;
  const ramp = signedRamp(palette);
  weights.resize(out * side, side);
  let shared = 0;
  for (let i = 0; i < data.length; i++) shared = Math.max(shared, Math.abs(data[i]!));
  for (let unit = 0; unit < out; unit++) {
    let most = scale === "unit" ? 0 : shared;
    if (scale === "unit") for (let from = 0; from < side * side; from++) most = Math.max(most, Math.abs(data[from * out + unit]!));
    for (let from = 0; from < side * side; from++) {
      weights.words[Math.floor(from / side) * out * side + unit * side + (from % side)] = shade(ramp, data[from * out + unit]!, most);
    }
  }
  weights.put();
}

function names(context: CanvasRenderingContext2D, palette: Palette, { setting, layout }: Drawing): void {
  const { layers, activations } = setting.config;
  const font = `12px ${palette.sans}`;
  layout.columns.forEach((column, layer) => {
    const last = layer === layers.length - 1;
    const name = layer === 0 ? (setting.image_side ? `${layers[0]} inputs, ${setting.image_side}×${setting.image_side} image` : layers[0]! > 10 ? `${layers[0]} inputs` : "inputs") : last ? "output" : column.across > 1 ? `layer ${layer}, ${layers[layer]} units` : `layer ${layer}`;
    const kind = layer === 0 ? "" : activations[layer - 1]!.replace("_", " ");
    const room = layers.length > 8 ? 0 : 1;
    context.font = font;
    const width = context.measureText(name).width;
    const x = Math.min(layout.width - width / 2 - 2, Math.max(width / 2 + 2, column.x));
    if (room || layer === 0 || last) text(context, name, x, 7, palette.ink, font, "center");
    if (room && kind) text(context, kind, column.x, 21, palette.soft, font, "center");
    if (layer === 0 && !setting.image_side && column.across === 1 && column.size >= 12) {
      for (const node of layout.units[0]!) {
        context.font = `12px ${palette.mono}`;
        const short = fit(context, unitName(0, node.unit, setting).replace(" (standardized)", ""), 2 * node.x - 4);
        text(context, short, node.x, node.y - node.size / 2 - 9, palette.ink, context.font, "center");
      }
    }
    if (last && layers[layer]! > 1 && column.size >= 12 && column.across === 1) {
      for (const node of layout.units[layer]!) {
        context.font = `12px ${palette.mono}`;
        text(context, fit(context, setting.classes[node.unit] ?? "", 22), node.x + node.size / 2 + 5, node.y, palette.ink, `12px ${palette.mono}`, "left");
      }
    }
  });
}

function text(context: CanvasRenderingContext2D, what: string, x: number, y: number, fill: string, font: string, align: CanvasTextAlign): void {
  context.font = font;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.fillStyle = fill;
  context.fillText(what, x, y);
}
