// What the lab has: its models, and those being fetched.

import { LabError } from "../hosts/contract";
import { api, start, type JobEvent, type ModelEntry, type Vision, type Work } from "../hosts/lab";

export interface Fetching {
  event: JobEvent | null;
  error: LabError | null;
  work: Work | null;
}

class Shelf {
  models = $state.raw<ModelEntry[] | null>(null);
  vision = $state.raw<Vision | null>(null); // asked for by the pages about pictures
  standard = $state(""); // the model that is used when none was named
  error = $state.raw<LabError | null>(null);
  fetching = $state<Record<string, Fetching>>({});

  async load(): Promise<void> {
    try {
      const { models, default: standard } = await api.models();
      this.models = models;
      this.standard = standard;
      this.error = null;
    } catch (thrown) {
      this.error = LabError.from(thrown);
    }
  }

  async loadVision(): Promise<void> {
    try {
      this.vision = await api.vision();
    } catch (thrown) {
      this.error = LabError.from(thrown);
    }
  }

  entry(name: string): ModelEntry | undefined {
    return [...(this.models ?? []), ...(this.vision?.models ?? [])].find((model) => model.name === name);
  }

  fetch(name: string): void {
    const work = start({ kind: "fetch", name }, (event) => {
      const one = this.fetching[name];
      if (one) one.event = event;
    });
    this.fetching[name] = { event: null, error: null, work };
    work.ended.then(
      async () => {
        await Promise.all([this.load(), this.vision && this.loadVision()]);
        delete this.fetching[name];
      },
      (thrown: unknown) => {
        const error = LabError.from(thrown);
        if (error.kind === "Cancelled") delete this.fetching[name];
        else this.fetching[name] = { event: null, error, work: null };
      },
    );
  }
}

export const shelf = new Shelf();
