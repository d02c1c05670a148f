// The lines of token attribution as SVG and as CSV, for files.

import type { TokenAttribution } from "../generated/payloads";
import { shade } from "../parts/ablation/effects";
import { AROUND, charAt, shareOf, wrapped } from "../parts/explained/lines";
import { csv, escape } from "../parts/export";
import { signed, three } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { visible } from "../parts/tokens";
import { MONO, number, page, SANS, text } from "./drawings";

const [NAMES, ROW, ROOM, SIZE] = [180, 28, 900, 16];

export function explainedSvg(payload: TokenAttribution, order: number[], ends: number[]): string {
  const palette = readPalette();
  const lines = wrapped(payload, order, ROOM, SIZE);
  let [y, widest] = [64, 560];
  let body =
    `<defs><pattern id="against" width="6" height="3" patternUnits="userSpaceOnUse"><rect width="3" height="3" fill="${palette.negative}"/></pattern></defs>`;
  for (const line of lines) {
    for (const [i, row] of payload.rows.entries()) {
      let x = NAMES;
      body += `<text x="${NAMES - 12}" y="${y + 18}" text-anchor="end" font-family="${SANS}" font-size="13" fill="${palette.ink}">${escape(row.title)}</text>`;
      for (const position of line) {
        const token = visible(payload.tokens[position]!);
        const wide = token.length * charAt(SIZE) + AROUND;
        const share = shareOf(row, position);
        const { fill, ink } = shade(palette, share === null || ends[i] === 0 ? 0 : share / ends[i]!);
        body += `<rect x="${x}" y="${y}" width="${wide - 1}" height="${ROW - 2}" rx="2" fill="${fill}"><title>${escape(`${row.title}, ${position} ${token}: ${share === null ? "not known" : signed(row.values.data[position]!)}`)}</title></rect>`;
        if (share !== null && share < 0) body += `<rect x="${x}" y="${y + ROW - 5}" width="${wide - 1}" height="3" fill="url(#against)"/>`;
        body += `<text x="${x + 5}" y="${y + 18}" font-family="${MONO}" font-size="${0.94 * SIZE}" fill="${ink}" xml:space="preserve">${escape(token)}</text>`;
        x += wide;
      }
      widest = Math.max(widest, x);
      y += ROW + (row.method === "leave_one_out" ? 8 : 0);
    }
    y += 18;
  }
  body += text(20, y + 8, `Shade: share of the line, root scale to ${three(100 * Math.max(...ends))}%; blue for, orange and dashed against.`, palette.soft);
  const what = payload.wrong ? `logit difference ${visible(payload.answer)} − ${visible(payload.wrong)}` : `${payload.kind} of ${visible(payload.answer)}`;
  return page(widest + 24, y + 28, `${payload.model.title}: ${what}, ${signed(payload.score)}, by token`, body, palette);
}

/** A line a token, a column a method; not yet known is empty. */
export function explainedCsv(payload: TokenAttribution): string {
  const rows: (string | number)[][] = [["position", "token", ...payload.rows.map(({ method }) => method)]];
  payload.tokens.forEach((token, position) => {
    rows.push([position, token.text, ...payload.rows.map((row) => (position < row.done ? number(row.values.data[position]!) : ""))]);
  });
  return csv(rows);
}
