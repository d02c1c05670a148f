// The socket of a network that trains in the lab: commands out, pictures in. The Python half is
// src/llm_workings/server/network.py.
//
// Frames come one at a time: the next is sent once the last was said to be drawn, so a slow page
// skips pictures and the training skips nothing.

import type { Config, DataSpec, Details, Finding, Frame, Predictions, Setting, SweepGrid, Tree } from "../generated/payloads";
import { LabError } from "./contract";
import { kindOf, unpack } from "./wire";

export type StepUnit = "sample" | "batch" | "epoch";

export interface Watch {
  sample: number | null;
  place: string | null;
  algebra: boolean;
  history: { place: string; what: "weight" | "gradient" | "activation" } | null;
  paths: boolean;
}

export interface SweepRequest {
  rows: string;
  row_values: number[];
  columns: string;
  column_values: number[];
  steps: number;
}

export type Command =
  | { do: "setup"; config: Partial<Config>; data: Partial<DataSpec> }
  | { do: "play"; speed: number }
  | { do: "pause" }
  | { do: "step"; n: number; unit: StepUnit }
  | { do: "goto"; branch: number; step: number }
  | { do: "change"; config: Partial<Config> }
  | { do: "edit"; place: string; value: number }
  | ({ do: "watch" } & Watch)
  | { do: "ready" }
  | ({ do: "sweep" } & SweepRequest)
  | { do: "stop_sweep" }
  | { do: "predict"; points: number[][] }
  | { do: "save" }
  | { do: "export" }
  | { do: "script" }
  | { do: "parameters" }
  | { do: "load_parameters"; parameters: Record<string, unknown> };

export interface Status {
  playing: boolean;
  speed: number;
  findings: Finding[];
}

/** What comes from the lab. A message that nobody here listens to is let pass. */
export interface Hears {
  setting: (setting: Setting) => void;
  frame: (frame: Frame) => void;
  tree: (tree: Tree) => void;
  details: (details: Details) => void;
  grid: (grid: SweepGrid) => void;
  predictions: (predictions: Predictions) => void;
  status: (status: Status) => void;
  file: (kind: string, content: BlobPart) => void;
  error: (error: LabError) => void;
  opened: () => void;
  lost: (error: LabError) => void;
}

const GONE = ["The lab has gone, and this training with it.", "Start it again in the terminal with: llm-workings lab"] as const;

const CALM = 300; // milliseconds between two pictures, at the least

/** One training in the lab, for as long as this page is open. */
export class Live {
  private socket: WebSocket;
  private closed = false;
  private waiting: Uint8Array | null = null; // a frame that is not drawn yet
  private playing = false;

  constructor(private hears: Hears, path = "/api/network") {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}${path}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => hears.opened();
    this.socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (this.closed) return;
      if (typeof data === "string") this.text(data);
      else this.binary(new Uint8Array(data));
    };
    this.socket.onclose = () => {
      if (!this.closed) hears.lost(new LabError(...GONE, "Gone"));
    };
  }

  send(command: Command): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(command));
  }

  /** A saved run, to go on from. */
  load(content: ArrayBuffer): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(content);
  }

  close(): void {
    this.closed = true;
    this.socket.close();
  }

  private text(data: string): void {
    const said = JSON.parse(data);
    if (said.say === "status") {
      this.playing = said.playing;
      this.hears.status(said as Status);
    } else if (said.say === "error") this.hears.error(LabError.from(said.error));
    else this.hears.file(said.say, said.text ?? said.html ?? JSON.stringify(said.parameters, null, 2));
  }

  private binary(bytes: Uint8Array): void {
    const kind = kindOf(bytes);
    if (kind === "Frame") {
      // Unpacked when the browser is about to paint: of two that came at once only the later counts.
      if (!this.waiting) requestAnimationFrame(this.draw);
      this.waiting = bytes;
      return;
    }
    if (kind === "SavedRun") return this.hears.file(kind, bytes as BlobPart);
    const hear = HEARD[kind];
    if (hear) (this.hears[hear] as (message: unknown) => void)(unpack(bytes));
  }

  private draw = (): void => {
    const bytes = this.waiting;
    this.waiting = null;
    if (!bytes || this.closed) return;
    const start = performance.now();
    try {
      this.hears.frame(unpack<Frame>(bytes));
    } finally {
      performance.measure("frame", { start, end: performance.now() });
      // Who asked the system for little motion gets a few pictures a second; the training is as fast.
      if (this.playing && matchMedia("(prefers-reduced-motion: reduce)").matches) setTimeout(() => this.send({ do: "ready" }), CALM);
      else this.send({ do: "ready" });
    }
  };
}

const HEARD: Record<string, "setting" | "tree" | "details" | "grid" | "predictions"> = {
  Setting: "setting", Tree: "tree", Details: "details", SweepGrid: "grid", Predictions: "predictions",
};
