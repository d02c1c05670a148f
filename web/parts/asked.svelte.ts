// One question to the host at a time: a later one replaces an earlier one, and what was last
// answered stays in sight until the next answer comes.

import { LabError } from "../hosts/contract";

export class Asked<Value> {
  value = $state.raw<Value | null>(null);
  error = $state.raw<LabError | null>(null);
  pending = $state(false);
  private key: string | null = null;

  /** Asks if `key` is new; `null` forgets the answer. */
  about(key: string | null, question: () => Promise<Value>): void {
    if (key === this.key) return;
    this.key = key;
    this.error = null;
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
    question().then(
      (value) => settle(() => (this.value = value)),
      (thrown) => settle(() => (this.error = LabError.from(thrown))),
    );
  }

  retry(question: () => Promise<Value>): void {
    const key = this.key;
    this.key = null;
    this.about(key, question);
  }
}
