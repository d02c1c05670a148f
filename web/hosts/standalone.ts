// The host of an HTML file opened from disk: it answers from what was recorded in the file.
// The Python half is src/llm_workings/export/.

import type { Answers } from "../generated/payloads";
import { canonical, LabError, type Request, type State, type ViewName } from "./contract";
import { embed } from "./embed";
import { stateful } from "./embedded.svelte";
import { completed } from "./requests";
import { unpack } from "./wire";

interface Recorded {
  view: ViewName;
  request: Request;
  base64: string;
}
interface Recording {
  view: ViewName;
  state: State;
  made_with: string;
  left_out: string[];
  answers: Recorded[];
}

function decode<Payload>(base64: string): Payload {
  return unpack<Payload>(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
}

function open(): void {
  const target = document.getElementById("llm-workings")!;
  const file = JSON.parse(document.getElementById("llm-workings-data")!.textContent!) as Recording;
  const first = file.answers.find(({ view }) => view === file.view)!;
  const { prompt, model } = first.request;
  const recorded = new Map(file.answers.map((answer) => [canonical(answer.view, answer.request), answer.base64]));

  function ask<Name extends ViewName>(view: Name, request: Request): Promise<Answers[Name]> {
    const base64 = recorded.get(canonical(view, completed(view, first.request, request)));
    if (base64 !== undefined) return Promise.resolve(decode<Answers[Name]>(base64));
    return Promise.reject(new LabError("This is not recorded in the file.", instead(view), "NotRecorded", request));
  }
  function instead(view: ViewName): string {
    const heads = file.answers.filter((answer) => answer.view === "head");
    const some = heads.map(({ request }) => `${request.layer}.${request.head}`).slice(0, 12).join(", ");
    if (view === "head" && some) return `Recorded heads: ${some}${heads.length > 12 ? ", …" : ""}. The lab shows them all.`;
    return "Open the picture in the lab or a notebook, where the model can be run again.";
  }

  const initial: State = { prompt: String(prompt ?? ""), model: String(model ?? ""), ...file.state };
  const held = stateful({ view: file.view, payload: decode(first.base64), opened: first.request, ask, note: { made_with: file.made_with, left_out: file.left_out } }, initial, () => {});
  embed(target, held.props);
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", open);
else open();
