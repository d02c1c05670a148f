// The adversary's picture as SVG and CSV.

import type { Adversary } from "../generated/payloads";
import { curvesSvg } from "../parts/curves";
import { csv, escape } from "../parts/export";
import { detection, enlargement, ways } from "../parts/inside/adversary";
import { enlarged, opaque, url } from "../parts/inside/pixels";
import { readPalette } from "../parts/palette.svelte";
import { number, text } from "./drawings";

/** The three pictures, and under them the curves. */
export function adversarySvg(payload: Adversary, layer: number): string {
  const palette = readPalette();
  const [rows, columns] = payload.picture.pixels.shape as [number, number];
  const times = enlargement(payload);
  const said = ({ name, probability }: { name: string; probability: number }) => `${name} ${probability.toFixed(3)}`;
  const shown = [
    { pixels: opaque(payload.picture.pixels), below: `as it is: ${said(payload.before[0]!)}` },
    { pixels: enlarged(payload.change, times), below: `the change, ${times} times enlarged` },
    { pixels: opaque(payload.misleading), below: `misleading: ${said(payload.after[0]!)}` },
  ];
  const [wide, high] = [240, Math.round((240 * rows) / columns)];
  let above = "";
  shown.forEach(({ pixels, below }, i) => {
    const x = 30 + i * (wide + 40);
    above += `<image x="${x}" y="50" width="${wide}" height="${high}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${url(pixels, rows, columns)}"/>`;
    above += text(x, 68 + high, below, palette.ink);
  });
  const title = `${payload.net.title}: ${payload.attack.toUpperCase()}, ε = ${payload.epsilon}/255`;
  const parts = [
    { drawing: ways(payload), height: 300, caption: "distance from where the clean picture puts each layer, as a share of its length" },
    ...(payload.done ? [{ drawing: detection(payload), height: 220, caption: `AUROC of strangeness by layer; best looked at: ${payload.layers[layer]}` }] : []),
  ];
  const under = curvesSvg(title, parts);
  const [, w, h] = /width="(\d+)" height="(\d+)"/.exec(under)!;
  const tall = Number(h) + high + 70;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${tall}" viewBox="0 0 ${w} ${tall}"><title>${escape(title)}</title>` +
    `<rect width="100%" height="100%" fill="${palette.paper}"/><g transform="translate(0 ${high + 70})">${under.replace(/^<svg[^>]*>/, "").replace(/<\/svg>$/, "")}</g>${above}</svg>`
  );
}

export function adversaryCsv(payload: Adversary): string {
  const say = (value: number | undefined) => (value === undefined || Number.isNaN(value) ? "" : number(value));
  const rows: (string | number)[][] = [["layer", "picture", "distance", "noise", "strangeness_clean", "strangeness_misled", "auroc"]];
  const layers = payload.layers.length;
  payload.layers.forEach((name, i) => {
    rows.push([
      name, payload.picture.name, number(payload.own_distance.data[i]!), number(payload.own_noise.data[i]!), say(payload.own_strangeness.data[i]),
      say(payload.own_strangeness.data[layers + i]), say(payload.detection.data[i]),
    ]);
    for (let at = 0; at < payload.done; at++) {
      const from = i * payload.done + at;
      rows.push([name, `${payload.set}:${at}`, number(payload.distance.data[from]!), number(payload.noise.data[from]!), say(payload.strangeness.data[from]), say(payload.strangeness.data[layers * payload.done + from]), ""]);
    }
  });
  return csv(rows);
}
