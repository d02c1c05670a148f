// The lab host: the routes of the local server, and work that is watched over a WebSocket.

import type { Answers, Token } from "../generated/payloads";
import { canonical, LabError, type Request, type State, type ViewName, type Watch } from "./contract";
import { unpack } from "./wire";

export interface ModelEntry {
  name: string;
  title: string;
  family: string;
  about: string;
  parameters: number | null;
  bytes: number | null;
  here: boolean;
  fetchable: boolean;
  loaded: boolean;
}
/** A vision model has a set of pictures that it was made for. */
export interface VisionEntry extends ModelEntry {
  set: string | null;
}
export interface PictureSet {
  name: string;
  title: string;
  about: string;
  n: number;
}
export interface Vision {
  models: VisionEntry[];
  sets: PictureSet[];
  default: string;
}
export interface Run {
  id: number;
  created: string;
  kind: string;
  name: string;
  model: string;
  request: Request;
  state: string;
  seconds: number | null;
  error: { message: string; hint: string } | null;
  note: string;
  kept: boolean;
  bytes: number;
  has_payload: boolean;
}
export interface JobEvent {
  state: "queued" | "working" | "done" | "failed" | "cancelled";
  what: string;
  done: number;
  total: number;
  ahead?: number;
  error: { kind: string; message: string; hint: string; given: Record<string, unknown> } | null;
  run: number | null;
  partials?: number;
}

const GONE = ["The lab does not answer.", "Is it still running in the terminal? Start it again with: llm-workings lab"] as const;

async function call(path: string, options: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, options).catch((thrown: unknown) => {
    if (thrown instanceof DOMException && thrown.name === "AbortError") throw thrown;
    throw new LabError(...GONE);
  });
  if (response.ok) return response;
  const told: unknown = await response.json().catch(() => null);
  if (told && typeof told === "object" && "message" in told) throw LabError.from(told);
  throw new LabError(`The lab answered ${response.status} to ${path}.`, "The terminal that runs the lab shows the details.");
}

async function json<Value>(path: string, method = "GET", body?: unknown): Promise<Value> {
  const options: RequestInit = { method };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await call(path, options);
  return (response.status === 204 ? null : await response.json()) as Value;
}

export const api = {
  models: () => json<{ models: ModelEntry[]; default: string }>("/api/models"),
  vision: () => json<Vision>("/api/vision"),
  /** Keeps a picture file in the lab; the name that views take it by. */
  async keepPicture(file: Blob): Promise<string> {
    const response = await call("/api/pictures", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    return ((await response.json()) as { name: string }).name;
  },
  tokens: (model: string, text: string) => json<{ tokens: Token[]; n_ctx: number }>("/api/tokens", "POST", { model, text }),
  runs: (before?: number) => json<{ runs: Run[]; more: boolean }>(before === undefined ? "/api/runs" : `/api/runs?before=${before}`),
  changeRun: (id: number, patch: { note?: string; kept?: boolean }) => json<Run>(`/api/runs/${id}`, "PATCH", patch),
  deleteRun: (id: number) => json<null>(`/api/runs/${id}`, "DELETE"),
  async export(name: string, request: Request, state: State): Promise<Blob> {
    const headers = { "content-type": "application/json" };
    const response = await call("/api/export", { method: "POST", headers, body: JSON.stringify({ name, request, state }) });
    return response.blob();
  },
};

/** One piece of work under way. `ended` rejects with the work's own error; `cancel` stops it. */
export interface Work {
  ended: Promise<string>; // the job's id
  cancel: () => void;
}

type Job = { kind: "view"; name: string; request: Request; record: boolean } | { kind: "fetch"; name: string };

export function start(body: Job, onevent: (event: JobEvent, job: string) => void): Work {
  let id: string | null = null;
  let stopped = false;
  const cancelJob = (job: string) => void call(`/api/jobs/${encodeURIComponent(job)}`, { method: "DELETE" }).catch(() => {});

  async function run(): Promise<string> {
    const job = (id = (await json<{ id: string }>("/api/jobs", "POST", body)).id);
    if (stopped) cancelJob(job);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/api/jobs/${encodeURIComponent(job)}/events`);
    return new Promise((resolve, reject) => {
      socket.onmessage = ({ data }: MessageEvent<string>) => {
        const event = JSON.parse(data) as JobEvent;
        onevent(event, job);
        if (event.state === "done") resolve(job);
        else if (event.state === "failed" || event.state === "cancelled") {
          reject(event.error ? LabError.from(event.error) : new LabError("Cancelled.", "", "Cancelled"));
        }
      };
      socket.onclose = () => reject(new LabError(...GONE)); // has no effect once the last event came
    });
  }
  return {
    ended: run(),
    cancel() {
      stopped = true;
      if (id) cancelJob(id);
    },
  };
}

const FOLLOW_UPS = new Set<ViewName>(["attribution_checks", "steering_effect", "steering_doses", "ablated_answer", "erased", "head", "head_row", "head_circuits", "mlp_neurons", "probe_positions", "neuron", "patched_answer", "text_pair", "residual_edit", "neuron_corpus", "neuron_prompt", "head_texts", "direction_texts", "corpora"]); // a click's worth: no entry in the list of runs
const REMEMBERED = 24;
const answers = new Map<string, unknown>();

function recall<Name extends ViewName>(view: Name, request: Request): Answers[Name] | undefined {
  return answers.get(canonical(view, request)) as Answers[Name] | undefined;
}

/** Asks for a view's payload; one answered lately is not computed again. */
export function askView<Name extends ViewName>(
  view: Name, request: Request, onevent: (event: JobEvent) => void = () => {}, sofar?: (payload: Answers[Name]) => void,
): { answer: Promise<Answers[Name]>; cancel: () => void } {
  const known = recall(view, request);
  if (known) return { answer: Promise.resolve(known), cancel: () => {} };
  const partials = sofar && new Partials(sofar);
  const work = start({ kind: "view", name: view, request, record: !FOLLOW_UPS.has(view) }, (event, job) => {
    onevent(event);
    if (event.state === "working") void partials?.hear(job, event.partials ?? 0);
    else if (event.state !== "queued") partials?.end();
  });
  const answer = work.ended.then(async (job) => {
    const response = await call(`/api/jobs/${encodeURIComponent(job)}/payload`);
    return remember(view, request, unpack<Answers[Name]>(new Uint8Array(await response.arrayBuffer())));
  });
  return { answer, cancel: work.cancel };
}

/** `askView` as views ask: followed and stopped through `watch`. */
export function askLab<Name extends ViewName>(view: Name, request: Request, watch: Watch<Answers[Name]> = {}): Promise<Answers[Name]> {
  const { answer, cancel } = askView(view, request, watch.step, watch.sofar);
  watch.signal?.addEventListener("abort", cancel, { once: true });
  return answer;
}

/** Fetches the newest partial payload of a job, one at a time. */
class Partials<Payload> {
  private seen = 0;
  private fetching = false;
  private ended = false;

  constructor(private show: (payload: Payload) => void) {}

  async hear(job: string, count: number): Promise<void> {
    if (count <= this.seen || this.fetching || this.ended) return;
    this.seen = count;
    this.fetching = true;
    try {
      const response = await call(`/api/jobs/${encodeURIComponent(job)}/partial`);
      if (response.status === 204) return; // the work has ended meanwhile: its last event says how
      const payload = unpack<Payload>(new Uint8Array(await response.arrayBuffer()));
      if (!this.ended) this.show(payload);
    } catch {
      // the lab does not answer: the work's own socket says so
    } finally {
      this.fetching = false;
    }
  }

  end(): void {
    this.ended = true;
  }
}

/** Takes what came out of a stored run, so that opening it again computes nothing. */
export async function recallRun(run: Run): Promise<void> {
  const response = await call(`/api/runs/${run.id}/payload`);
  remember(run.name, run.request, unpack(new Uint8Array(await response.arrayBuffer())));
}

function remember<Payload>(view: string, request: Request, payload: Payload): Payload {
  answers.set(canonical(view, request), payload);
  const oldest = answers.keys().next();
  if (answers.size > REMEMBERED && !oldest.done) answers.delete(oldest.value);
  return payload;
}
