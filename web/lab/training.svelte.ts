// A network that trains in the lab, as the page sees it.

import type { Config, DataSpec, Details, Finding, Frame, Predictions, Setting, SweepGrid, Tree } from "../generated/payloads";
import type { LabError } from "../hosts/contract";
import { flushSync } from "svelte";
import { Live, type StepUnit, type SweepRequest, type Watch } from "../hosts/live";
import type { Session } from "../parts/network/session";

export interface Start {
  config: Partial<Config>;
  data: Partial<DataSpec>;
}

export class Training implements Session {
  setting = $state.raw<Setting | null>(null);
  frame = $state.raw<Frame | null>(null);
  tree = $state.raw<Tree | null>(null);
  details = $state.raw<Details | null>(null);
  grid = $state.raw<SweepGrid | null>(null);
  predictions = $state.raw<Predictions | null>(null);
  findings = $state.raw<Finding[]>([]);
  error = $state.raw<LabError | null>(null);
  lost = $state.raw<LabError | null>(null);
  playing = $state(false);
  private hurried = $state<number | null>(null);
  sweeping = $state(false);
  readonly trains = true;
  onsettled: () => void = () => {}; // told when the network or its settings are others than before
  private live: Live;
  private begun: Start;
  private watching = "";
  private coming: { setting: Setting; tree: Tree | null } | null = null;
  private told = "";
  private taking = new Map<string, { resolve: (content: BlobPart) => void; reject: (error: LabError) => void }>();

  constructor(start: Start) {
    this.begun = start;
    this.live = this.connect();
  }

  private connect(): Live {
    return new Live({
      opened: () => this.setup(this.begun),
      setting: (setting) => {
        this.coming = { setting, tree: null }; // of another network: shown when its first frame is here
      },
      frame: (frame) => {
        if (this.coming?.tree) {
          this.setting = this.coming.setting;
          this.tree = this.coming.tree;
          this.grid = this.predictions = this.details = null;
          this.coming = null;
        }
        this.frame = frame;
        flushSync(); // drawn now, so that what it took is known
        this.settle();
      },
      tree: (tree) => {
        if (this.coming) this.coming.tree = tree;
        else this.tree = tree;
      },
      details: (details) => {
        this.details = details;
        this.findings = details.findings;
      },
      grid: (grid) => {
        this.grid = grid;
        this.sweeping = grid.step < grid.steps;
      },
      predictions: (predictions) => (this.predictions = predictions),
      status: ({ playing, findings }) => {
        this.playing = playing;
        this.findings = findings;
      },
      file: (kind, content) => {
        this.taking.get(kind)?.resolve(content);
        this.taking.delete(kind);
      },
      error: (error) => {
        this.sweeping = false;
        if (this.taking.size === 0) this.error = error;
        this.refuse(error);
      },
      lost: (error) => {
        this.lost = error;
        this.refuse(error);
        this.playing = false;
      },
    });
  }

  /** What holds where the picture stands. */
  get config(): Config | null {
    const { tree } = this;
    return tree?.branches.find(({ id }) => id === tree.branch)?.config ?? this.setting?.config ?? null;
  }

  /** As it was set; else so that four points are seen to be learned, and the larger sets do not take minutes. */
  get speed(): number {
    return this.hurried ?? ((this.setting?.data.name ?? "xor_points") === "xor_points" ? 150 : 600);
  }

  get last(): number {
    const { tree, frame } = this;
    return Math.max(tree?.branches.find(({ id }) => id === tree.branch)?.tip ?? 0, frame?.step ?? 0);
  }

  private settle(): void {
    const { config, setting } = this;
    const now = JSON.stringify([config, setting?.data]);
    if (now === this.told) return;
    this.told = now;
    this.onsettled();
  }

  setup(start: Start): void {
    this.begun = start;
    this.error = null;
    this.watching = "";
    this.live.send({ do: "setup", ...start });
  }

  reconnect(): void {
    this.live.close();
    this.lost = null;
    this.live = this.connect();
  }

  close(): void {
    this.live.close();
  }

  play = (): void => {
    this.error = null;
    this.live.send({ do: "play", speed: this.speed });
  };
  pause = (): void => this.live.send({ do: "pause" });
  hurry = (speed: number): void => {
    this.hurried = speed;
    if (this.playing) this.play();
  };
  step = (n: number, unit: StepUnit): void => this.live.send({ do: "step", n, unit });
  goto = (branch: number, step: number): void => this.live.send({ do: "goto", branch, step });
  edit = (place: string, value: number): void => this.live.send({ do: "edit", place, value });
  change = (config: Partial<Config>): void => {
    this.error = null;
    this.live.send({ do: "change", config });
  };
  restart = (seed?: number): void => {
    const { config, setting } = this;
    if (!config || !setting) return;
    this.setup({ config: seed === undefined ? config : { ...config, seed }, data: setting.data });
  };
  sweep = (request: SweepRequest): void => {
    this.sweeping = true;
    this.grid = null;
    this.live.send({ do: "sweep", ...request });
  };
  stopSweep = (): void => {
    this.sweeping = false;
    this.live.send({ do: "stop_sweep" });
  };
  predict = (points: number[][]): void => this.live.send({ do: "predict", points });
  open = (config: Config): void => {
    if (this.setting) this.setup({ config, data: this.setting.data });
  };

  get asking(): NonNullable<Session["asking"]> {
    const { predictions, grid, sweeping, predict, sweep, stopSweep: stop, open } = this;
    return { predictions, grid, sweeping, predict, sweep, stop, open };
  }

  /** Says what details are to hold; said once. */
  watch = (what: Watch): void => {
    const key = JSON.stringify(what);
    if (key === this.watching || !this.setting) return;
    this.watching = key;
    this.live.send({ do: "watch", ...what });
  };

  /** Something to be taken along: the run, its page, its script or its parameters. */
  take(what: "save" | "export" | "script" | "parameters"): Promise<BlobPart> {
    return new Promise((resolve, reject) => {
      this.taking.set(what === "save" ? "SavedRun" : what, { resolve, reject });
      this.live.send({ do: what });
    });
  }

  private refuse(error: LabError): void {
    for (const { reject } of this.taking.values()) reject(error);
    this.taking.clear();
  }

  /** A saved run, to go on from. */
  load(content: ArrayBuffer): void {
    this.error = null;
    this.live.load(content);
  }

  loadParameters(parameters: Record<string, unknown>): void {
    this.error = null;
    this.live.send({ do: "load_parameters", parameters });
  }
}
