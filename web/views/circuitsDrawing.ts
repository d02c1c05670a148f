// What a head writes, copies and looks for, as SVG and as CSV.

import type { HeadCircuits, Token } from "../generated/payloads";
import { csv } from "../parts/export";
import { signed } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { visible } from "../parts/tokens";
import { number, page, text } from "./drawings";

export function circuitsSvg(payload: HeadCircuits): string {
  const palette = readPalette();
  const lines = (rows: { token: Token; value: number }[], x: number, title: string): string =>
    text(x, 66, title, palette.soft) +
    rows.map(({ token, value }, i) => text(x, 90 + 20 * i, visible(token), palette.ink) + text(x + 190, 90 + 20 * i, signed(value), value < 0 ? palette.negative : palette.positive, 'text-anchor="end"')).join("");
  const sources = Array.from(payload.by_source.data, (value, key) => ({ token: payload.tokens[key]!, value }))
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 6);
  const body =
    lines(payload.promoted, 20, "raises most, logits") + lines(payload.suppressed, 240, "lowers most, logits") +
    lines(sources, 460, `of ${signed(payload.share)} for ${visible(payload.answer)}, from`) + lines(payload.looks_for.most, 680, "looks for most, score");
  return page(900, 230, `${payload.model.title}: head ${payload.layer}.${payload.head} at ${visible(payload.tokens[payload.position]!)}`, body, palette);
}

export function circuitsCsv(payload: HeadCircuits): string {
  const rows: (string | number)[][] = [["what", "position", "token", "value", "more"]];
  for (const { token, value } of payload.promoted) rows.push(["raises, logits", payload.position, token.text, number(value), ""]);
  for (const { token, value } of payload.suppressed) rows.push(["lowers, logits", payload.position, token.text, number(value), ""]);
  payload.by_source.data.forEach((value, key) => rows.push(["share of the answer, logits", key, payload.tokens[key]!.text, number(value), payload.answer.text]));
  for (const { token, promoted, rank } of payload.copies) rows.push(["looking at, rank of itself", "", token.text, rank + 1, promoted.map((one) => one.text).join(" | ")]);
  rows.push(["copying score", "", "", number(payload.copying.copied), `top ${payload.copying.k} of ${payload.model.vocab_size}, ${payload.copying.sample} tokens`]);
  rows.push(["suppression score", "", "", number(payload.copying.suppressed), ""]);
  payload.looks_for.text.data.forEach((value, key) => rows.push(["looks for, score by itself", key, payload.tokens[key]!.text, number(value), payload.looks_for.seen.data[key] ?? ""]));
  for (const { token, value } of payload.looks_for.most) rows.push(["of the sample, most", "", token.text, number(value), ""]);
  for (const { token, value } of payload.looks_for.least) rows.push(["of the sample, least", "", token.text, number(value), ""]);
  return csv(rows);
}
