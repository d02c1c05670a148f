// What an address, or a notebook's state, asks a view for: each field of the view's request is the
// parameter of the same name. So a control of a view sets `change({ kind: "z" })`, and the host asks
// the view again.

import { VIEWS } from "../generated/payloads";
import type { Request, State, ViewName } from "./contract";

// What a view's component asks for itself (`ask`), beside the picture it was opened with.
const ASKED_INSIDE: Partial<Record<ViewName, readonly string[]>> = {
  attention: ["ablate", "ablation"],
  head: ["ablate", "ablation", "with_scores"],
  head_circuits: ["ablate", "ablation"],
  head_row: ["ablate", "ablation"],
  direct_attribution: ["by"],
  logit_lens: ["chosen"],
  mlp: ["sort", "layer", "position"],
  neuron: ["layer", "neuron"],
  probe_ladder: ["conllu"],
  residual: ["position"], // its payload holds every position
  network: ["config", "data", "steps", "frames", "sample", "place"], // it was recorded; what its state says is where one looks
};

/** What a view asks of another one: its request, with the text and model of `opened` where it takes them. */
export function completed(view: ViewName, opened: Request, request: Request): Request {
  const shared = ["prompt", "model"].filter((name) => name in fieldsOf(view) && opened[name] !== undefined);
  return { ...Object.fromEntries(shared.map((name) => [name, opened[name]])), ...request };
}

type Spelling = "text" | "number" | "flag" | "json";

/** The fields of the view's request, with how each is spelled. */
export function fieldsOf(view: ViewName): Record<string, Spelling> {
  return VIEWS[view].fields;
}

/** What of the view's request the state names. What cannot be read stays text, for the lab to refuse. */
export function fromState(view: ViewName, state: State): Request {
  const request: Request = {};
  for (const [name, spelling] of Object.entries(fieldsOf(view))) {
    const text = state[name];
    if (text !== undefined && !ASKED_INSIDE[view]?.includes(name)) request[name] = read(text, spelling);
  }
  return request;
}

/** The state that names a request: the inverse of `fromState`. What is as it is by default is left out. */
export function toState(view: ViewName, request: Request): State {
  const defaults = VIEWS[view].defaults as Record<string, unknown>;
  const state: State = {};
  for (const [name, spelling] of Object.entries(fieldsOf(view))) {
    const value = request[name];
    if (value === undefined || value === null || ASKED_INSIDE[view]?.includes(name)) continue;
    if (name !== "model" && JSON.stringify(value) === JSON.stringify(defaults[name])) continue;
    state[name] = spelling === "json" ? JSON.stringify(value) : String(value);
  }
  return state;
}

function read(text: string, spelling: Spelling): unknown {
  if (spelling === "text") return text;
  if (spelling === "flag" && (text === "true" || text === "false")) return text === "true";
  if (spelling === "number" && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (spelling !== "json") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
