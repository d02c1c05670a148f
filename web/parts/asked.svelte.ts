// One question to the host at a time: a later one replaces an earlier one, and what was last
// answered stays in sight until the next answer comes.

import { LabError, type Step, type Watch } from "../hosts/contract";

/** Hand `watch` on to `ask`, and the answer fills as it is worked out, and can be cancelled. */
export type Question<Value> = (watch: Watch<Value>) => Promise<Value>;

export class Asked<Value> {
  value = $state.raw<Value | null>(null);
  error = $state.raw<LabError | null>(null);
  pending = $state(false);
  step = $state.raw<Step | null>(null);
  partial = $state(false); // `value` is this question's, but not all of it
  private key: string | null = null;
  private stop: AbortController | null = null;

  /** Stops the work; what has come of it stays. */
  cancel = (): void => this.stop?.abort();

  /** Asks if `key` is new; `null` forgets the answer. */
  about(key: string | null, question: Question<Value>): void {
    if (key === this.key) return;
    this.cancel();
    this.key = key;
    this.error = null;
    this.step = null;
    this.partial = false;
    this.pending = key !== null;
    if (key === null) {
      this.value = null;
      return;
    }
    const settle = (change: () => void) => {
      if (this.key !== key) return;
      change();
      this.pending = false;
    };
    const stop = (this.stop = new AbortController());
    const here = (change: () => void) => this.key === key && this.stop === stop && change();
    const watch: Watch<Value> = {
      signal: stop.signal,
      step: (step) => here(() => (this.step = step)),
      sofar: (value) => here(() => ((this.value = value), (this.partial = true))),
    };
    question(watch).then(
      (value) => settle(() => ((this.value = value), (this.partial = false))),
      (thrown) => settle(() => (this.error = LabError.from(thrown))),
    );
  }

  retry(question: Question<Value>): void {
    const key = this.key;
    this.key = null;
    this.about(key, question);
  }
}
