// Mounts a view outside the lab page: in a notebook cell or in a file opened from disk.

import "../parts/fonts.css";
import "../parts/theme.css";
import "../parts/view.css";
import { mount, unmount } from "svelte";
import Embed from "./Embed.svelte";
import type { Ask, Change, Request, State } from "./contract";

export interface Embedded {
  view: string;
  payload: unknown;
  opened: Request; // what `payload` answers
  state: State;
  change: Change;
  ask: Ask;
  note?: { made_with: string; left_out: string[] }; // of a file: who made it, what it does not hold
}

// The build puts the stylesheet here (vite.config.ts), because a widget may be inside a shadow root
// where the page's styles do not reach.
const STYLE = "%STYLE%";

/** Mounts it in `target`; returns how to take it away. */
export function embed(target: HTMLElement, props: Embedded): () => void {
  const style = document.createElement("style");
  style.textContent = STYLE;
  // Font faces inside a shadow root are ignored: those go to the page.
  const faces = document.createElement("style");
  faces.textContent = (STYLE.match(/@font-face\s*\{[^}]*\}/g) ?? []).join("\n");
  if (!document.head.querySelector("style[data-llmw-fonts]")) {
    faces.dataset.llmwFonts = "";
    document.head.append(faces);
  }
  target.replaceChildren(style);
  const component = mount(Embed, { target, props });
  return () => {
    void unmount(component);
    target.replaceChildren();
  };
}
