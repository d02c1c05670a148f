// A token exactly as it is: which of its characters are spaces, line ends, bytes or special.

import type { Token } from "../generated/payloads";

export interface Piece {
  text: string;
  mark: boolean; // stands for something that has no ink of its own
}

const MARKS: Record<string, string> = { "\n": "↵", "\r": "␍", "\t": "⇥", "\u00a0": "⍽" };

/** The token in pieces. Its outer spaces become thin marks; inner spaces stay spaces. */
export function pieces(token: Token): Piece[] {
  if (token.special) return [{ text: token.text, mark: false }];
  if (token.text === "") return [{ text: "∅", mark: true }];
  const out: Piece[] = [];
  const add = (text: string, mark: boolean) => {
    const last = out.at(-1);
    if (last && last.mark === mark) last.text += text;
    else out.push({ text, mark });
  };
  const lead = token.text.length - token.text.trimStart().length;
  const tail = token.text.trimEnd().length;
  let at = 0;
  for (const part of token.text.match(/\\x[0-9a-f]{2}|./gisu) ?? []) {
    const mark = MARKS[part];
    if (mark) add(mark, true);
    else if (part === " " && (at < lead || at >= tail)) add("·", true);
    else add(part, part.length > 2);
    at += part.length;
  }
  return out;
}

/** The token as one line of text, with its marks: for canvases, labels and tables. */
export function visible(token: Token): string {
  return pieces(token).map((piece) => piece.text).join("");
}

/** The token as a sentence can say it, for a screen reader. */
export function spoken(token: Token): string {
  if (token.special) return `special token ${token.text}`;
  return `“${token.text.replaceAll("\n", "line break").replaceAll("\t", "tab").trim() || "space"}”`;
}
