// The waterfall as SVG and as CSV, for files.

import type { DirectAttribution } from "../generated/payloads";
import { domainOf, type Bar, type Opened, type Term } from "../parts/attribution";
import { csv } from "../parts/export";
import { signed } from "../parts/numbers";
import { readPalette } from "../parts/palette.svelte";
import { visible } from "../parts/tokens";
import { number, page, text } from "./drawings";

interface Total {
  label: string;
  value: number;
}

export function attributionSvg(payload: DirectAttribution, bars: Bar[], totals: Total[], opened: Opened | null): string {
  const palette = readPalette();
  const [left, wide, high, top] = [250, 620, 22, 62];
  const [low, up] = domainOf(bars, totals.map(({ value }) => value));
  const x = (value: number) => left + ((value - low) / (up - low)) * wide;
  const hatch =
    `<defs><pattern id="against" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
    `<rect width="5" height="5" fill="${palette.negative}" fill-opacity="0.55"/><rect width="3" height="5" fill="${palette.negative}"/></pattern></defs>`;
  const rows = [
    ...bars.map((bar) => ({ label: bar.term ? nameOf(bar.term, payload) : `${bar.count} small terms`, from: bar.start, to: bar.end, value: bar.value, fill: bar.value < 0 ? "url(#against)" : palette.positive })),
    ...totals.map(({ label, value }) => ({ label, from: 0, to: value, value, fill: palette.soft })),
  ];
  let body = `${hatch}<line x1="${x(0)}" x2="${x(0)}" y1="${top - 8}" y2="${top + rows.length * high}" stroke="${palette.strong}"/>`;
  rows.forEach(({ label, from, to, value, fill }, i) => {
    const y = top + i * high;
    body += text(left - 10, y + 15, label, palette.ink, 'text-anchor="end"');
    body += `<rect x="${Math.min(x(from), x(to))}" y="${y + 4}" width="${Math.max(1, Math.abs(x(to) - x(from)))}" height="${high - 8}" fill="${fill}"/>`;
    body += text(left + wide + 70, y + 15, signed(value), palette.ink, 'text-anchor="end"');
  });
  const what = payload.wrong ? `logit difference ${visible(payload.answer)} − ${visible(payload.wrong)}` : `logit of ${visible(payload.answer)}`;
  body += text(20, top + rows.length * high + 24, payload.norm, palette.soft);
  return page(left + wide + 90, top + rows.length * high + 44, `${payload.model.title}: ${what}${opened ? `, ${opened.title}` : ""}`, body, palette);
}

/** A term in words, with the token it was read from. */
export function nameOf({ label, source }: Term, payload: DirectAttribution): string {
  return source === null ? label : `${label} ${source} ${visible(payload.tokens[source]!)}`;
}

/** Every term of the level, the small ones too. */
export function attributionCsv(payload: DirectAttribution, terms: Term[]): string {
  const rows: (string | number)[][] = [["term", "source_token", "share"]];
  for (const { name, source, value } of terms) rows.push([name, source === null ? "" : payload.tokens[source]!.text, number(value)]);
  return csv(rows);
}
