// The pictures of neurons as SVG and as CSV, for files.

import type { Mlp, Neuron, NeuronListing, NeuronPrompt } from "../generated/payloads";
import { csv } from "../parts/export";
import { largest, nameOf, rowOf } from "../parts/neurons/neurons";
import { colour, level, readPalette, type Palette } from "../parts/palette.svelte";
import { nameOf as nameOfPrompt } from "../parts/neurons/writing";
import { signed } from "../parts/numbers";
import { visible } from "../parts/tokens";
import { number, page, text } from "./drawings";

const LEFT = 110;

function words(tokens: Mlp["tokens"], wide: number, y: number, palette: Palette): string {
  const room = Math.max(3, Math.floor(wide / 7.3) - 1);
  return tokens.map((token, i) => text(LEFT + i * wide + 2, y, visible(token).slice(0, room), palette.ink)).join("");
}

function bars(name: string, values: Float32Array, y: number, high: number, wide: number, most: number, palette: Palette): string {
  const middle = y + high / 2;
  let body = text(LEFT - 8, middle + 4, name, palette.ink, 'text-anchor="end"');
  body += `<rect x="${LEFT}" y="${middle - 0.5}" width="${wide * values.length}" height="1" fill="${palette.line}"/>`;
  values.forEach((value, i) => {
    const long = Math.min(1, Math.abs(value) / most) * (high / 2 - 2);
    const fill = value < 0 ? palette.negative : palette.positive;
    body += `<rect x="${LEFT + i * wide + 3}" y="${(value < 0 ? middle : middle - long).toFixed(2)}" width="${wide - 6}" height="${long.toFixed(2)}" fill="${fill}"/>`;
  });
  return body;
}

export function mlpSvg(payload: Mlp, listing: NeuronListing): string {
  const palette = readPalette();
  const n = payload.tokens.length;
  const wide = Math.max(30, Math.min(74, Math.round(1100 / n)));
  let body = words(payload.tokens, wide, 62, palette);
  for (let layer = 0; layer < payload.model.n_layers; layer++) {
    body += text(LEFT - 8, 81 + layer * 14, String(layer), palette.soft, 'text-anchor="end"');
    for (let i = 0; i < n; i++) {
      body += `<rect x="${LEFT + i * wide}" y="${70 + layer * 14}" width="${wide - 1}" height="13" fill="${colour(palette, level(payload.relative.data[layer * n + i]!))}"/>`;
    }
  }
  const under = 92 + payload.model.n_layers * 14;
  const first = listing.first_left_out ? 1 : 0;
  listing.neurons.forEach((neuron, i) => {
    const values = rowOf(listing.history, i);
    body += bars(nameOf(neuron), values, under + i * 26, 26, wide, largest(values, n > 1 ? first : 0), palette);
  });
  const title = `${payload.model.title}: |MLP out| / |stream| by layer, and neurons by ${listing.sort}`;
  return page(LEFT + 20 + n * wide, under + 20 + listing.neurons.length * 26, title, body, palette);
}

export function mlpCsv(payload: Mlp, listing: NeuronListing): string {
  const rows: (string | number)[][] = [["neuron", "share", "writes", "z", ...payload.tokens.map((token, i) => `${i} ${token.text}`)]];
  payload.shares.data.forEach((share, layer) => {
    const n = payload.tokens.length;
    rows.push([`MLP ${layer}`, number(share), "", "", ...Array.from(payload.norms.data.subarray(layer * n, layer * n + n), number)]);
  });
  listing.neurons.forEach((neuron, i) => {
    const numbers = [listing.share, listing.write, listing.z].map(({ data }) => number(data[i]!));
    rows.push([nameOf(neuron), ...numbers, ...Array.from(rowOf(listing.history, i), number)]);
  });
  return csv(rows);
}

export function neuronSvg(payload: Neuron, written: NeuronPrompt | null): string {
  const palette = readPalette();
  const n = payload.tokens.length;
  const wide = Math.max(30, Math.min(74, Math.round(1100 / n)));
  const rows: [string, Float32Array][] = [
    [payload.gated ? "gate" : "before", payload.pre.data],
    ...(payload.linear ? [["in", payload.linear.data] as [string, Float32Array]] : []),
    ["activation", payload.post.data],
  ];
  const first = payload.model.causal && n > 1 ? 1 : 0;
  let body = words(payload.tokens, wide, 62, palette);
  rows.forEach(([name, values], i) => (body += bars(name, values, 72 + i * 48, 44, wide, largest(values, first), palette)));
  let y = 96 + rows.length * 48;
  for (const terms of [...payload.reads, ...(payload.writes ? [payload.writes] : [])]) {
    const said = terms.name === "out" ? "writes" : terms.name === "gate" ? "gate reads" : "reads";
    body += text(LEFT - 8, y, said, palette.soft, 'text-anchor="end"') + text(LEFT, y, terms.top.slice(0, 8).map(visible).join("  "), palette.positive);
    body += text(LEFT, y + 18, terms.bottom.slice(0, 8).map(visible).join("  "), palette.negative);
    y += 44;
  }
  if (written && written.prompts.length > 0) {
    body += text(LEFT - 8, y, "written", palette.soft, 'text-anchor="end"') + text(LEFT, y, written.compared, palette.ink);
    for (const { tokens, values, at, seed } of written.prompts) {
      y += 18;
      body += text(LEFT - 8, y, signed(values.data[at]!), palette.ink, 'text-anchor="end"') + text(LEFT, y, `${tokens.map(visible).join(" ")}   (${nameOfPrompt(seed)})`, palette.ink);
    }
    y += 44;
  }
  return page(Math.max(written ? 1000 : 680, LEFT + 20 + n * wide), y + 6, `${payload.model.title}: neuron ${payload.layer}.${payload.neuron}`, body, palette);
}

export function neuronCsv(payload: Neuron, written: NeuronPrompt | null): string {
  const rows: (string | number)[][] = [["what", "token", "value"]];
  const along: [string, Float32Array | undefined][] = [[payload.gated ? "gate" : "before", payload.pre.data], ["in", payload.linear?.data], ["activation", payload.post.data]];
  for (const [name, values] of along) values?.forEach((value, i) => rows.push([name, `${i} ${payload.tokens[i]!.text}`, number(value)]));
  for (const terms of [...payload.reads, ...(payload.writes ? [payload.writes] : [])]) {
    const name = terms.name === "out" ? "writes" : `reads (${terms.name})`;
    terms.top.forEach((token, i) => rows.push([name, token.text, number(terms.top_scores.data[i]!)]));
    terms.bottom.forEach((token, i) => rows.push([name, token.text, number(terms.bottom_scores.data[i]!)]));
  }
  for (const { how, change, divergence } of payload.without) rows.push([`${how}: change of the logit`, "", number(change)], [`${how}: KL`, "", number(divergence)]);
  for (const { neuron, cosine } of payload.alike) rows.push(["writes alike: cosine", nameOf(neuron), number(cosine)]);
  for (const { seed, tokens, values, start, history, loss } of written?.prompts ?? []) {
    const name = `prompt ${nameOfPrompt(seed)}`;
    values.data.forEach((value, i) => rows.push([`${name}: activation`, `${i} ${tokens[i]!.text}`, number(value)]));
    [start, ...history.data].forEach((value, step) => rows.push([`${name}: after step ${step}`, "", number(value)]));
    if (loss !== null) rows.push([`${name}: nats a token`, "", number(loss)]);
  }
  if (written?.real) written.real.values.data.forEach((value, i) => Number.isNaN(value) || rows.push(["best real text: activation", `${i} ${written.real!.tokens[i]!.text}`, number(value)]));
  return csv(rows);
}
