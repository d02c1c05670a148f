// LaTeX as HTML, set once and kept: the same line comes back with every frame of a training.

import katex from "katex";
import "katex/dist/katex.min.css";

const MOST = 4000; // lines kept; some kilobytes each
const TIED = /\\(cdot|times)(?![a-zA-Z])/g; // a long sum is broken at its plus signs, not within a product
const OPENING = /(^|[({+\-\s&])\|-/g; // |-1|: a sign, not a difference
const kept = new Map<string, string>();

/** The HTML of one line of LaTeX, with large fractions and sums. What cannot be set is shown as it is written. */
export function math(tex: string): string {
  let html = kept.get(tex);
  if (html === undefined) {
    html = katex.renderToString(`\\displaystyle ${tex.replace(TIED, "\\mathord{\\:$&\\:}").replace(OPENING, "$1|{-}")}`, { output: "html", throwOnError: false, strict: false, errorColor: "var(--wrong)" });
    if (kept.size >= MOST) for (const old of [...kept.keys()].slice(0, MOST / 2)) kept.delete(old);
  } else kept.delete(tex); // what was used last is the last to go
  kept.set(tex, html);
  return html;
}

/** Rows that were broken for a page of one width, as one line: the window breaks it where it must. */
function unbroken(tex: string): string {
  const [, body] = /^\\begin\{aligned\}([^]*)\\end\{aligned\}$/.exec(tex.trim()) ?? [];
  if (body === undefined) return tex;
  let depth = 0; // within cases a row stays a row
  return body.replace(/\\begin\b|\\end\b|\\\\\s*&?|^&|\\quad ?/g, (mark) => {
    if (mark === "\\begin") depth += 1;
    if (mark === "\\end") depth -= 1;
    return depth > 0 || /begin|end/.test(mark) ? mark : " ";
  });
}

/** A line of LaTeX cut before the last equals sign that stands outside of all brackets: what is computed, and the result. */
export function parts(line: string): { left: string; result: string } {
  const tex = unbroken(line);
  let depth = 0;
  let cut = -1;
  for (let i = 0; i < tex.length; i++) {
    const [command] = /^\\(left|right|begin|end)(?![a-zA-Z])|^\\[a-zA-Z]+|^\\./.exec(tex.slice(i, i + 24)) ?? [];
    if (command) {
      if (command === "\\left" || command === "\\begin") depth += 1;
      if (command === "\\right" || command === "\\end") depth -= 1;
      i += command.length - 1;
    } else if (tex[i] === "{") depth += 1;
    else if (tex[i] === "}") depth -= 1;
    else if (tex[i] === "=" && depth === 0) cut = i;
  }
  return cut < 0 ? { left: tex, result: "" } : { left: tex.slice(0, cut).trim(), result: tex.slice(cut + 1).trim() };
}
