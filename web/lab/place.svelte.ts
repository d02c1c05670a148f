// Where the page is: its path, and the state that its address carries.

import type { State } from "../hosts/contract";
import { shelf } from "./shelf.svelte";

export interface Example {
  name: string;
  text: string;
}
// Random tokens of SmolLM2's, a draw that costs what the docs say: llm-workings run --random-twice 40 --seed 107
const RANDOM =
  " Donald decomposed thunderstormsArchae Confederates finaljav inert NairobiVisiondualopathycoated Combining tying CasThanks presenter fails peripheryovering photo hugeDifferentittle parrots surgicallyitation promulgated sudden]( Compound internmentphthalm Isn Upanish Overcoming scorn scenarios spreading";
// The first is the text of a page that names none.
const EXAMPLES: Example[] = [
  { name: "Who gets the drink?", text: "When Mary and John went to the store, John gave a drink to" },
  { name: "A fact", text: "The Eiffel Tower is in the city of" },
  { name: "A pattern", text: "red 7 green 2 blue 9 red 7 green" },
  { name: "Counting", text: "one two three four five six" },
  { name: "Agreement", text: "The keys to the old cabinet in the hall" },
  { name: "Code", text: "def add(a, b):\n    return a" },
  { name: "Random words, twice", text: RANDOM + RANDOM },
];
// The toys know small letters and no language.
const OF_TOYS: Example[] = [
  { name: "Said twice", text: "gqmzrxk gqmzr" },
  { name: "Said three times", text: "hat.hat.ha" },
  { name: "A letter in two places", text: "abcdaefg abcdae" },
  { name: "Nothing said twice", text: "quick brown" },
];

const QUIET = new Set(["threshold", "sample"]); // moved continuously: no step of the history each time
const OF_PAIR = ["corrupted", "answer", "wrong"]; // what comes along from page to page, as long as the text does
const OF_PICTURE = ["net", "picture", "target", "contrast"]; // the same, of pages about pictures
const OF_TEXT = ["query", "key", "stop", "position", "at", ...OF_PAIR];
const OF_MODEL = ["query", "key", "stop", "position", "pin", "ablate", "ablation", "chosen", "layer", "neuron", "only", "receivers"];

class Place {
  path = $state(location.pathname);
  params = $state.raw<State>(read());
  private writing: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    addEventListener("popstate", () => {
      clearTimeout(this.writing);
      this.path = location.pathname;
      this.params = read();
    });
  }

  get examples(): Example[] {
    return shelf.entry(this.params.model ?? shelf.standard)?.family === "toy" ? OF_TOYS : EXAMPLES;
  }

  get prompt(): string {
    return this.params.prompt ?? this.examples[0]!.text;
  }

  get usesExample(): boolean {
    return this.prompt === this.examples[0]!.text;
  }

  /** Changes the state: a value sets, null removes. */
  change = (patch: Record<string, string | null>): void => {
    const next = { ...this.params };
    const drop = "model" in patch ? OF_MODEL : "prompt" in patch ? OF_TEXT : [];
    for (const key of drop) delete next[key];
    for (const [key, value] of Object.entries(patch)) {
      if (value === null) delete next[key];
      else next[key] = value;
    }
    this.params = next;
    clearTimeout(this.writing);
    if (Object.keys(patch).every((key) => QUIET.has(key))) {
      this.writing = setTimeout(() => history.replaceState(null, "", this.address()), 200);
    } else if (this.address() !== location.pathname + location.search) {
      history.pushState(null, "", this.address());
    }
  };

  /** Brings the address up to what is the case; no step of the history. */
  rewrite = (patch: Record<string, string | null>): void => {
    const next = { ...this.params };
    for (const [key, value] of Object.entries(patch)) {
      if (value === null) delete next[key];
      else next[key] = value;
    }
    if (address(this.path, next) === this.address()) return;
    this.params = next;
    history.replaceState(null, "", this.address());
  };

  /** Goes to a page. Text and model come along; what belongs to the picture left does not. */
  go = (path: string, patch: State = {}): void => {
    this.params = this.along(patch);
    this.path = path;
    history.pushState(null, "", this.address());
    scrollTo(0, 0);
  };

  href(path: string, patch: State = {}): string {
    return address(path, this.along(patch));
  }

  /** What goes along to another page, and `patch`: the model, and the text with what is asked of it. */
  private along(patch: State): State {
    const names = ["prompt", "model", ...("prompt" in patch ? [] : OF_PAIR), ...OF_PICTURE];
    const kept = names.filter((name) => this.params[name] !== undefined).map((name) => [name, this.params[name]!]);
    return { ...Object.fromEntries(kept), ...patch };
  }

  private address(): string {
    return address(this.path, this.params);
  }
}

function address(path: string, params: State): string {
  const query = new URLSearchParams(params).toString().replaceAll("%2C", ","); // which a query may hold as it is
  return query ? `${path}?${query}` : path;
}

function read(): State {
  return Object.fromEntries(new URLSearchParams(location.search));
}

export const place = new Place();

/** Follows a link inside the page without loading it anew, once `first` is done; modified clicks stay
    the browser's. */
export function follow(event: MouseEvent, first: Promise<unknown> = Promise.resolve()): void {
  const link = (event.target as Element).closest?.("a");
  if (!link || link.origin !== location.origin || link.hasAttribute("download") || link.target) return;
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  void first.then(() => place.go(link.pathname, Object.fromEntries(new URLSearchParams(link.search))));
}
