// What feature visualization draws: the climb's curve for the page and for files, pictures as SVG, numbers as CSV.

import { scaleLinear } from "d3-scale";
import type { Examples, FeatureVisualization, Unit } from "../generated/payloads";
import type { Drawing } from "../parts/curves";
import { csv } from "../parts/export";
import { three } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { number, page, text } from "./drawings";

/** The value of each seed's picture at each kept frame, with the real ones as levels. */
export function climb(payload: FeatureVisualization): Drawing {
  const { frame_steps, frame_values, seeds, steps, complete, best, real_median, n_real } = payload;
  const x = [...frame_steps.data, ...(complete ? [] : [steps])];
  const levels = [{ name: "best real", value: best.values.data[0]!, dash: "7 3" }, ...(n_real > 2 ? [{ name: "median real", value: real_median, dash: "2 3" }] : [])];
  const all = [...frame_values.data, ...levels.map(({ value }) => value)];
  const scale = scaleLinear().domain([Math.min(0, ...all), Math.max(1e-6, ...all)]).nice(4);
  return {
    x,
    curves: seeds.map((seed, i) => ({
      name: `seed ${seed}`, colour: `--category-${(i % 8) + 1}`, dash: ["", "6 3", "2 2", "8 3 2 3"][i % 4]!,
      values: x.map((_, frame) => (frame < frame_steps.data.length ? frame_values.data[frame * seeds.length + i]! : Number.NaN)),
    })),
    levels, domain: scale.domain() as [number, number], ticks: scale.ticks(4),
    xTicks: scaleLinear([0, steps], [0, 1]).ticks(5).map((at) => ({ at, label: String(at) })), xTitle: "step",
  };
}

/** Picture number `at` of an array of bytes, as a PNG data URL. */
function pngOf(pixels: Uint8Array, at: number, height: number, width: number): string {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[i * 4 + c] = pixels[(at * height * width + i) * 3 + c]!;
    image.data[i * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

const image = (x: number, y: number, size: number, url: string) =>
  `<image x="${x}" y="${y}" width="${size}" height="${size}" style="image-rendering:pixelated" href="${url}"/>`;

/** A row of examples in SVG, each with its value, and its peak marked. */
export function rowSvg(examples: Examples, x: number, y: number, size: number, ink: string): string {
  const [height, width] = examples.pixels.shape.slice(1, 3) as [number, number];
  return examples.names.map((_, at) => {
    const left = x + at * (size + 8);
    const [row, column] = [examples.peaks.data[at * 2]!, examples.peaks.data[at * 2 + 1]!];
    const ring = Number.isFinite(row) ? `<circle cx="${left + column * size}" cy="${y + row * size}" r="${size / 11}" fill="none" stroke="#000" stroke-width="3.5"/><circle cx="${left + column * size}" cy="${y + row * size}" r="${size / 11}" fill="none" stroke="#fff" stroke-width="1.5"/>` : "";
    return image(left, y, size, pngOf(examples.pixels.data, at, height, width)) + ring + text(left, y + size + 15, three(examples.values.data[at]!), ink);
  }).join("");
}

/** The made pictures of a frame over the real ones. */
export function theatreSvg(payload: FeatureVisualization, frame: number): string {
  const palette = readPalette();
  const [, seeds, height, width] = payload.frames.shape as [number, number, number, number];
  let body = "";
  for (let i = 0; i < seeds; i++) {
    body += image(20 + i * 208, 50, 200, pngOf(payload.frames.data, frame * seeds + i, height, width));
    body += text(20 + i * 208, 266, `seed ${payload.seeds[i]}: ${three(payload.frame_values.data[frame * seeds + i]!)}`, palette.ink);
  }
  body += text(20, 300, `The real pictures that excite it most, of ${payload.n_real}`, palette.soft) + rowSvg(payload.best, 20, 310, 84, palette.ink);
  if (payload.drawn.names.length > 0) body += text(20, 440, "Real pictures drawn at random", palette.soft) + rowSvg(payload.drawn, 20, 450, 84, palette.ink);
  const wide = Math.max(860, 40 + seeds * 208);
  return page(wide, payload.drawn.names.length > 0 ? 570 : 430, `${payload.net.title}: ${payload.subject_name}, step ${payload.frame_steps.data[frame]}`, body, palette);
}

export function theatreCsv(payload: FeatureVisualization): string {
  const { seeds } = payload;
  const rows: (string | number)[][] = [["what", "name", "class", "step", "value"]];
  payload.frame_steps.data.forEach((step, frame) =>
    seeds.forEach((seed, i) => rows.push(["made", `seed ${seed}`, "", step, number(payload.frame_values.data[frame * seeds.length + i]!)])));
  for (const [what, examples] of [["best real", payload.best], ["random real", payload.drawn]] as const) {
    examples.names.forEach((name, at) => rows.push([what, name, examples.labels[at]!, "", number(examples.values.data[at]!)]));
  }
  return csv(rows);
}

/** The unit's pictures, most, random and least, under its sentence. */
export function unitSvg(payload: Unit): string {
  const palette = readPalette();
  const groups = [[`excite it most, of ${payload.n}`, payload.top], ...(payload.whole ? [["drawn at random", payload.drawn], ["excite it least", payload.bottom]] : [])] as [string, Unit["top"]][];
  let body = text(20, 56, payload.summary, palette.soft);
  let y = 80;
  for (const [title, { examples }] of groups) {
    body += text(20, y, title, palette.soft) + rowSvg(examples, 20, y + 10, 84, palette.ink);
    y += 136;
  }
  if (payload.whole) {
    const most = Math.max(1, ...payload.counts.data);
    const [low, high] = [Math.min(payload.edges.data[0]!, payload.value), Math.max(payload.edges.data.at(-1)!, payload.value)];
    const x = scaleLinear([low, high], [20, 620]);
    body += text(20, y, "its values over the set; height: square root of the count; the line: the page's picture", palette.soft);
    payload.counts.data.forEach((count, at) => {
      const tall = 90 * Math.sqrt(count / most);
      body += `<rect x="${x(payload.edges.data[at]!)}" y="${y + 110 - tall}" width="${Math.max(1, x(payload.edges.data[at + 1]!) - x(payload.edges.data[at]!) - 1)}" height="${tall}" fill="${palette.accent}"/>`;
    });
    body += `<line x1="${x(payload.value)}" x2="${x(payload.value)}" y1="${y + 12}" y2="${y + 110}" stroke="${palette.wrong}" stroke-width="2"/>`;
    body += text(20, y + 126, three(low), palette.soft) + text(620, y + 126, three(high), palette.soft, 'text-anchor="end"');
    y += 140;
  }
  return page(880, y + 10, `${payload.net.title}: unit ${payload.unit} of ${payload.layer}`, body, palette);
}

export function unitCsv(payload: Unit): string {
  const rows: (string | number)[][] = [["what", "name", "class", "value"], ["this picture", payload.picture.name, "", number(payload.value)]];
  for (const [what, { examples }] of [["most", payload.top], ["random", payload.drawn], ["least", payload.bottom]] as const) {
    examples.names.forEach((name, at) => rows.push([what, name, examples.labels[at]!, number(examples.values.data[at]!)]));
  }
  payload.net.classes.forEach((name, at) => {
    if (payload.whole) rows.push(["mean by class", "", name, number(payload.by_class.data[at]!)]);
  });
  for (const each of payload.without) {
    if (each.accuracy !== null) rows.push([`right, held at ${each.how}`, "", "", number(each.accuracy)]);
    if (payload.whole) payload.net.classes.forEach((name, at) => rows.push([`change of the logit, held at ${each.how}`, "", name, number(each.by_class.data[at]!)]));
  }
  for (const [what, kernels] of [["reads", payload.reads], ["writes", payload.writes]] as const) {
    kernels?.names.forEach((name, at) => rows.push([`${what} (length, or the class's weight)`, name, "", number(kernels.lengths.data[at]!)]));
  }
  for (const { unit, correlation } of payload.alike) rows.push(["correlation", `unit ${unit}`, "", number(correlation)]);
  return csv(rows);
}
