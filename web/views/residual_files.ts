// The residual stream as SVG and as CSV, for files.

import type { Residual } from "../generated/payloads";
import { csv } from "../parts/export";
import { colour, readPalette } from "../parts/palette.svelte";
import { AFTER, line, roomOf, type By } from "../parts/stream/line";
import type { Measure } from "../parts/stream/measures";
import { write } from "../parts/stream/scene";
import { FAINT, shade } from "../parts/stream/shade";
import { visible } from "../parts/tokens";
import { MONO, number, page, SANS, text } from "./drawings";

export function streamSvg(payload: Residual, position: number, by: By, measure: Measure): string {
  const palette = readPalette();
  const [left, top, cell, high] = [108, 44, 16, 17];
  const room = roomOf(payload);
  const marks = line(payload, position, by, cell, left, palette);
  const fonts = { sans: SANS, mono: MONO };
  let body = `<g transform="translate(20 ${top})">${write(marks.margin, fonts)}</g><g transform="translate(${20 + left} ${top})">${write(marks.inside, fonts)}</g>`;
  const n = payload.tokens.length;
  const grid = top + room.height;
  payload.tokens.forEach((token, row) => {
    const y = grid + row * high;
    body += text(20 + left - 8, y + 13, visible(token).slice(0, 14), palette.ink, `text-anchor="end"${row === position ? ' font-weight="600"' : ""}`);
    payload.stops.forEach((_, stop) => {
      const level = measure.level(measure.value(stop * n + row));
      if (Number.isNaN(level)) return;
      const fill = measure.signed ? shade(palette, level) : colour(palette, Math.round(255 * level));
      body += `<rect x="${20 + left + stop * cell}" y="${y}" width="${cell - 1}" height="${high - 1}" fill="${fill}"/>`;
      if (measure.signed && level < FAINT) body += text(20 + left + stop * cell + (cell - 1) / 2, y + 12, "−", palette.ink, 'text-anchor="middle"');
    });
  });
  const ticks = [...measure.ticks].sort((a, b) => a.place - b.place);
  body += text(20 + left, grid + n * high + 18, `${measure.title}, ${ticks[0]!.label} to ${ticks.at(-1)!.label}${measure.scale ? `, ${measure.scale}` : ""}`, palette.soft);
  const title = `${payload.model.title}: the residual stream at ${visible(payload.tokens[position]!)}`;
  return page(40 + left + payload.stops.length * cell + AFTER, grid + n * high + 36, title, body, palette);
}

export function streamCsv(payload: Residual): string {
  const { lens, shares } = payload;
  const rows: (string | number)[][] = [[
    "stop", "position", "token", "norm", "added", "cosine", "cosine_final", ...(shares ? ["share"] : []),
    ...(lens ? ["best", "probability", "answer", "answer_probability", "answer_rank", "answer_logit"] : []),
    ...(lens?.wrong ? ["wrong", "wrong_probability", "wrong_rank", "wrong_logit"] : []),
  ]];
  const n = payload.tokens.length;
  payload.stops.forEach((stop, i) => {
    payload.tokens.forEach((token, position) => {
      const at = i * n + position;
      const standing = (one: NonNullable<typeof lens>["answer"]) => [one.token.text, number(one.probability.data[at]!), one.rank.data[at]!, number(one.logit.data[at]!)];
      rows.push([
        stop.name, position, token.text, ...[payload.norm, payload.added, payload.cosine, payload.cosine_final].map((array) => number(array.data[at]!)),
        ...(shares ? [shares.share.data[at]!] : []),
        ...(lens ? [lens.vocabulary[lens.best.data[at]!]?.text ?? "", number(lens.probability.data[at]!), ...standing(lens.answer)] : []),
        ...(lens?.wrong ? standing(lens.wrong) : []),
      ]);
    });
  });
  return csv(rows);
}
