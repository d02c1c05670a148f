// The hidden layer's view of the data on a canvas.

import type { Frame, Setting } from "../../generated/payloads";
import type { Palette } from "../palette.svelte";
import { tickText } from "./axis";
import { Reading } from "./fold";
import { unitName } from "./naming";
import { radius, sampleColour, stamp } from "./points";
import { classOf, scaleOf } from "./values";

const [LEFT, BELOW] = [34, 24];
const LINES = 13; // of the grid each way

export interface FoldDrawing {
  setting: Setting;
  frame: Frame;
  layer: number;
  units: [number, number];
  width: number;
  height: number;
}

/** The ends of an axis: where a function cannot leave a range that range, else what is seen, rounded up. */
function endsOf(activation: string | undefined, low: number, high: number): [number, number] {
  if (activation === "tanh" || activation === "sine") return [-1.08, 1.08];
  if (activation === "sigmoid" || activation === "softmax") return [-0.05, 1.05];
  const room = Math.max(0.05, (high - low) * 0.06);
  return [low - room, high + room];
}

export function drawFold(context: CanvasRenderingContext2D, palette: Palette, drawing: FoldDrawing): void {
  const { setting, frame, layer, units, width, height } = drawing;
  if (frame.maps.data.length === 0) return;
  const [across, up] = units.map((unit) => new Reading(setting, frame, layer, unit)) as [Reading, Reading];
  const plane = setting.dimensions === 2;
  const [low, high] = setting.domain as [number, number];
  const last = low + (high - low) * across.end;
  const steps = Array.from({ length: LINES }, (_, i) => low + ((last - low) * i) / (LINES - 1));
  const fine = Array.from({ length: 49 }, (_, i) => low + ((last - low) * i) / 48);
  const seen: [number, number][] = plane ? steps.flatMap((x) => steps.map((y) => [across.at(x, y), up.at(x, y)] as [number, number])) : fine.map((x) => [across.at(x, 0), up.at(x, 0)]);
  const ends = [0, 1].map((axis) => {
    const values = seen.map((pair) => pair[axis]!);
    return endsOf(setting.config.activations[layer - 1], Math.min(...values), Math.max(...values));
  }) as [[number, number], [number, number]];
  const [wide, tall] = [width - LEFT - 2, height - BELOW - 2];
  const x = (value: number) => LEFT + ((value - ends[0][0]) / (ends[0][1] - ends[0][0])) * wide;
  const y = (value: number) => 2 + tall - ((value - ends[1][0]) / (ends[1][1] - ends[1][0])) * tall;

  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.strokeRect(LEFT + 0.5, 2.5, wide - 1, tall - 1);
  context.save();
  context.beginPath();
  context.rect(LEFT, 2, wide, tall);
  context.clip();
  context.strokeStyle = palette.strong;
  context.lineWidth = 0.8;
  context.globalAlpha = 0.75;
  if (plane) {
    for (const fixed of steps) {
      for (const turned of [false, true]) {
        context.beginPath();
        for (const moving of fine) {
          const [px, py] = turned ? [moving, fixed] : [fixed, moving];
          context.lineTo(x(across.at(px, py)), y(up.at(px, py)));
        }
        context.stroke();
      }
    }
  } else {
    context.beginPath();
    for (const [a, b] of seen) context.lineTo(x(a), y(b));
    context.stroke();
  }
  context.globalAlpha = 1;
  boundary(context, palette, drawing, ends, x, y);
  const n = setting.points.shape[0]!;
  const coordinates = setting.points.shape[1]!;
  const reach = scaleOf(setting).reach;
  for (let i = 0; i < n; i++) {
    const at = [setting.points.data[i * coordinates]!, coordinates > 1 ? setting.points.data[i * coordinates + 1]! : 0] as const;
    stamp(
      context, palette,
      {
        colour: sampleColour(palette, setting, i, reach), kind: setting.task === "classes" ? classOf(setting, i) : 0,
        held: setting.held_back.data[i] === 1, wrong: frame.wrong.data[i] === 1,
      },
      x(across.at(...at)), y(up.at(...at)), radius(n),
    );
  }
  context.restore();
  labels(context, palette, drawing, ends);
}

/** Where the layer is the last hidden one and has these two units alone, the line the output draws through them. */
function boundary(
  context: CanvasRenderingContext2D, palette: Palette, { setting, frame, layer, units }: FoldDrawing,
  ends: [[number, number], [number, number]], x: (value: number) => number, y: (value: number) => number,
): void {
  const { layers } = setting.config;
  if (setting.task !== "classes" || layer !== layers.length - 2 || layers[layer] !== 2 || layers[layer + 1] !== 1 || units[0] === units[1]) return;
  const [w, b] = [frame.weights[layer]!.data, frame.biases[layer]!.data[0]!];
  const [across, up] = [w[units[0]]!, w[units[1]]!];
  if (Math.abs(up) < 1e-9) return;
  context.strokeStyle = palette.ink;
  context.lineWidth = 1.25;
  context.beginPath();
  for (const end of ends[0]) context.lineTo(x(end), y(-(across * end + b) / up));
  context.stroke();
}

function labels(context: CanvasRenderingContext2D, palette: Palette, { setting, layer, units, width, height }: FoldDrawing, ends: [[number, number], [number, number]]): void {
  const [wide, tall] = [width - LEFT - 2, height - BELOW - 2];
  context.font = `12px ${palette.mono}`;
  context.fillStyle = palette.soft;
  context.textBaseline = "middle";
  const short = (value: number) => tickText(Number(value.toPrecision(2)));
  context.textAlign = "left";
  context.fillText(short(ends[0][0]), LEFT, height - BELOW / 2 + 2);
  context.textAlign = "right";
  context.fillText(short(ends[0][1]), LEFT + wide, height - BELOW / 2 + 2);
  context.fillText(short(ends[1][0]), LEFT - 4, 2 + tall - 7);
  context.fillText(short(ends[1][1]), LEFT - 4, 9);
  context.fillStyle = palette.ink;
  context.textAlign = "center";
  context.fillText(unitName(layer, units[0], setting), LEFT + wide / 2, height - BELOW / 2 + 2);
  context.save();
  context.translate(LEFT - 14, 2 + tall / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(unitName(layer, units[1], setting), 0, 0);
  context.restore();
}
