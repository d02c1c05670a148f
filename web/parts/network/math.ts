// LaTeX as HTML, set once and kept: the same line comes back with every frame of a training.

import katex from "katex";
import "katex/dist/katex.min.css";

const MOST = 4000; // lines kept; some kilobytes each
const kept = new Map<string, string>();

/** The HTML of one line of LaTeX, with large fractions and sums. What cannot be set is shown as it is written. */
export function math(tex: string): string {
  let html = kept.get(tex);
  if (html === undefined) {
    html = katex.renderToString(`\\displaystyle ${tex}`, { output: "html", throwOnError: false, strict: false, errorColor: "var(--wrong)" });
    if (kept.size >= MOST) for (const old of [...kept.keys()].slice(0, MOST / 2)) kept.delete(old);
  } else kept.delete(tex); // what was used last is the last to go
  kept.set(tex, html);
  return html;
}

/** A line of LaTeX cut before the last equals sign that stands outside of all braces: what is computed, and the result. */
export function parts(tex: string): { left: string; result: string } {
  let depth = 0;
  let cut = -1;
  for (let i = 0; i < tex.length; i++) {
    if (tex.startsWith("\\left", i) && !/[a-z]/.test(tex[i + 5] ?? "")) depth += 1;
    else if (tex.startsWith("\\right", i) && !/[a-z]/.test(tex[i + 6] ?? "")) depth -= 1;
    else if (tex[i] === "\\") i += 1;
    else if (tex[i] === "{") depth += 1;
    else if (tex[i] === "}") depth -= 1;
    else if (tex[i] === "=" && depth === 0) cut = i;
  }
  return cut < 0 ? { left: tex, result: "" } : { left: tex.slice(0, cut).trim(), result: tex.slice(cut + 1).trim() };
}
