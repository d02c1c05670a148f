// The notebook host, as an anywidget module. The kernel's half is src/llm_workings/notebook/.
// The front end sends {id, view, request}; the kernel answers {id, ok: true} with one buffer that
// holds the payload's wire bytes, or {id, ok: false, error}.

import type { Answers } from "../generated/payloads";
import { LabError, type Request, type State, type ViewName } from "./contract";
import { embed } from "./embed";
import { stateful } from "./embedded.svelte";
import { unpack } from "./wire";

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, listener: (...args: never[]) => void): void;
  off(event: string, listener: (...args: never[]) => void): void;
}
interface Reply {
  id: string;
  ok: boolean;
  error?: { message: string; hint: string; kind: string };
}
type Waiting = { resolve: (payload: never) => void; reject: (error: LabError) => void };

const PATIENCE = 120_000; // a kernel that is busy longer than this has most likely gone

function bytesOf(view: unknown): Uint8Array {
  if (view instanceof ArrayBuffer) return new Uint8Array(view);
  const { buffer, byteOffset, byteLength } = view as DataView;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const waiting = new Map<string, Waiting>();
  const me = crypto.randomUUID(); // one model may be shown in several cells; each hears every reply
  let count = 0;

  function ask<Name extends ViewName>(view: Name, request: Request): Promise<Answers[Name]> {
    const id = `${me}:${count++}`;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      setTimeout(() => {
        if (waiting.delete(id)) reject(new LabError("The kernel did not answer.", "If it was restarted, run the cell again."));
      }, PATIENCE);
      model.send({ id, view, request });
    });
  }
  const answered = (reply: Reply, buffers: unknown[]) => {
    const one = waiting.get(reply.id);
    if (!one) return;
    waiting.delete(reply.id);
    if (reply.ok) one.resolve(unpack(bytesOf(buffers[0])) as never);
    else one.reject(LabError.from(reply.error));
  };
  model.on("msg:custom", answered);

  const held = stateful(
    {
      view: String(model.get("_view")), payload: unpack(bytesOf(model.get("_payload"))), opened: (model.get("_request") ?? {}) as Request, ask,
    },
    { ...(model.get("_state") as State) },
    (state) => {
      model.set("_state", state);
      model.save_changes();
    },
  );
  const restate = () => held.setState({ ...(model.get("_state") as State) });
  const repaint = () => held.setPayload(unpack(bytesOf(model.get("_payload"))));
  model.on("change:_state", restate);
  model.on("change:_payload", repaint);
  const remove = embed(el, held.props);
  return () => {
    model.off("msg:custom", answered);
    model.off("change:_state", restate);
    model.off("change:_payload", repaint);
    remove();
  };
}

export default { render };
