// The pictures as SVG and as CSV, for files. Cells are one embedded image, so size is no limit.

import type { Attention, LogitLens } from "../generated/payloads";
import { escape, csv } from "../parts/export";
import type { Measure } from "../parts/measures";
import { inkOn, colour, level, type Palette, readPalette } from "../parts/palette.svelte";
import { three } from "../parts/numbers";
import { visible } from "../parts/tokens";

export const SANS = "IBM Plex Sans, system-ui, sans-serif";
export const MONO = "IBM Plex Mono, ui-monospace, monospace";

export function page(width: number, height: number, title: string, body: string, palette: Palette): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<title>${escape(title)}</title><rect width="100%" height="100%" fill="${palette.paper}"/>` +
    `<text x="20" y="30" font-family="${SANS}" font-size="16" font-weight="600" fill="${palette.ink}">${escape(title)}</text>` +
    `${body}</svg>`
  );
}

export function text(x: number, y: number, content: string, fill: string, more = ""): string {
  return `<text x="${x}" y="${y}" font-family="${MONO}" font-size="12" fill="${fill}" ${more}>${escape(content)}</text>`;
}

/** `width` x `height` ramp steps (or null for none) as a PNG data URL, one pixel each. */
function pixels(width: number, height: number, at: (x: number, y: number) => number | null, palette: Palette): string {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const step = at(x, y);
      if (step === null) continue;
      const to = (y * width + x) * 4;
      image.data.set(palette.ramp.subarray(step * 3, step * 3 + 3), to);
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** `width` x `height` colours (or null for none) as a PNG data URL, one pixel each. */
export function painted(width: number, height: number, at: (x: number, y: number) => string | null): string {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const fill = at(x, y);
      if (fill === null) continue;
      context.fillStyle = fill;
      context.fillRect(x, y, 1, 1);
    }
  }
  return canvas.toDataURL();
}

export function picture(x: number, y: number, width: number, height: number, url: string): string {
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${url}"/>`;
}

export function atlasSvg(payload: Attention): string {
  const palette = readPalette();
  const [layers, heads, rows, columns] = payload.thumbnails.shape as [number, number, number, number];
  const size = Math.max(24, Math.min(64, Math.round(1200 / layers)));
  const steps = Uint8Array.from({ length: 256 }, (_, value) => level(value / 255));
  let body = "";
  for (let layer = 0; layer < layers; layer++) {
    body += text(60 + layer * size + size / 2, 62, String(layer), palette.soft, 'text-anchor="middle"');
    for (let head = 0; head < heads; head++) {
      const from = (layer * heads + head) * rows * columns;
      const url = pixels(columns, rows, (x, y) => steps[payload.thumbnails.data[from + y * columns + x]!]!, palette);
      body += picture(60 + layer * size, 70 + head * size, size - 3, size - 3, url);
    }
  }
  for (let head = 0; head < heads; head++) {
    body += text(52, 70 + head * size + size / 2 + 3, String(head), palette.soft, 'text-anchor="end"');
  }
  body += text(20, 92 + heads * size, payload.tokens.map(visible).join(" "), palette.soft);
  return page(80 + layers * size, 110 + heads * size, `${payload.model.title}: attention, layers across, heads down`, body, palette);
}

export function headSvg(measure: Measure): string {
  const palette = readPalette();
  const payload = measure.head;
  const n = payload.tokens.length;
  const size = Math.max(4, Math.min(28, Math.round(720 / n)));
  const at = (x: number, y: number) => (payload.causal && x > y ? null : measure.fill(palette, measure.at(y, x)));
  const room = 20 + 7.3 * Math.max(...payload.tokens.map((token) => visible(token).length));
  const top = 44 + (size >= 10 ? 0.87 * room : 10);
  let body = picture(room, top, n * size, n * size, painted(n, n, at));
  if (size >= 10) {
    payload.tokens.forEach((token, i) => {
      const middle = i * size + size / 2;
      body += text(room - 6, top + 4 + middle, visible(token), palette.ink, 'text-anchor="end"');
      body += text(0, 0, visible(token), palette.ink, `transform="translate(${room + 4 + middle} ${top - 6}) rotate(-60)"`);
    });
  }
  const what = `${measure.about.title}${measure.less ? ", this text less the other" : ""}, scale to ${three(measure.most)}`;
  const title = `${payload.model.title}: head ${payload.layer}.${payload.head}, ${what}, query down, key across`;
  return page(Math.max(560, 1.6 * room + 20 + n * size), top + 24 + n * size, title, body, palette);
}

export function lensSvg(payload: LogitLens): string {
  const palette = readPalette();
  const [stops, positions] = payload.best.shape as [number, number];
  const [wide, high] = [74, 22];
  let body = "";
  payload.tokens.forEach((token, position) => {
    body += text(110 + position * wide, 62, visible(token).slice(0, 9), palette.ink);
  });
  for (let stop = 0; stop < stops; stop++) {
    const y = 70 + stop * high;
    body += text(100, y + 15, payload.stops[stop]!, palette.soft, 'text-anchor="end"');
    for (let position = 0; position < positions; position++) {
      const at = stop * positions + position;
      const step = level(payload.probability.data[at]!);
      body += `<rect x="${106 + position * wide}" y="${y}" width="${wide - 2}" height="${high - 2}" fill="${colour(palette, step)}"/>`;
      body += text(110 + position * wide, y + 14, visible(payload.vocabulary[payload.best.data[at]!]!).slice(0, 9), inkOn(palette, step));
    }
  }
  return page(130 + positions * wide, 90 + stops * high, `${payload.model.title}: logit lens, best guess and its probability`, body, palette);
}

export function atlasCsv({ scores, thumbnails }: Attention): string {
  const [layers, heads] = thumbnails.shape as [number, number];
  const names = Object.keys(scores) as (keyof Attention["scores"])[];
  const rows: (string | number)[][] = [["layer", "head", ...names]];
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      rows.push([layer, head, ...names.map((name) => number(scores[name].data[layer * heads + head]!))]);
    }
  }
  return csv(rows);
}

export function headCsv(measure: Measure): string {
  const head = measure.head;
  const what = measure.about.unit + (measure.less ? "_difference" : "");
  const rows: (string | number)[][] = [["query", "query_token", "key", "key_token", what]];
  head.tokens.forEach((from, query) => {
    for (let key = 0; key < (head.causal ? query + 1 : head.tokens.length); key++) {
      rows.push([query, from.text, key, head.tokens[key]!.text, number(measure.at(query, key))]);
    }
  });
  return csv(rows);
}

export function lensCsv(payload: LogitLens): string {
  const rows: (string | number)[][] = [
    ["stop", "position", "token", "best", "probability", "entropy", "chosen", "chosen_probability", "chosen_rank"],
  ];
  const positions = payload.tokens.length;
  payload.stops.forEach((stop, i) => {
    payload.tokens.forEach((token, position) => {
      const at = i * positions + position;
      rows.push([
        stop, position, token.text, payload.vocabulary[payload.best.data[at]!]!.text, number(payload.probability.data[at]!),
        number(payload.entropy.data[at]!), payload.chosen.text, number(payload.chosen_probability.data[at]!), payload.chosen_rank.data[at]!,
      ]);
    });
  });
  return csv(rows);
}

/** A float32 as a spreadsheet reads it: nine digits tell any two apart. */
export function number(value: number): string {
  return String(Number(value.toPrecision(9)));
}

