// The checks of many maps, asked for one after the other; what has come stays, also when it is stopped.

import type { AttributionChecks } from "../../generated/payloads";
import { LabError, type Ask } from "../../hosts/contract";

export class Checked {
  found = $state.raw<Record<string, AttributionChecks>>({});
  at = $state<string | null>(null); // the method that is being checked
  error = $state.raw<LabError | null>(null);
  private stop: AbortController | null = null;
  private about = "";

  cancel = (): void => {
    this.stop?.abort();
    this.at = null;
  };

  /** Forgets what belongs to another question. */
  of(key: string): void {
    if (key === this.about) return;
    this.cancel();
    this.about = key;
    this.found = {};
    this.error = null;
  }

  put(name: string, checks: AttributionChecks): void {
    if (this.found[name] !== checks) this.found = { ...this.found, [name]: checks };
  }

  async all(names: string[], ask: Ask, question: Record<string, unknown>): Promise<void> {
    const stop = (this.stop = new AbortController());
    this.error = null;
    for (const name of names.filter((one) => !this.found[one]?.complete)) {
      this.at = name;
      try {
        const checks = await ask("attribution_checks", { ...question, method: name }, { signal: stop.signal });
        if (stop.signal.aborted) return;
        this.put(name, checks);
      } catch (thrown) {
        if (!stop.signal.aborted) this.error = LabError.from(thrown);
        break;
      }
    }
    if (this.stop === stop) this.at = null;
  }
}
