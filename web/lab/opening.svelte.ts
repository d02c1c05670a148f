// A view being opened: its work while it lasts, then its payload or its error. What was open before
// stays in sight until the next is here.

import type { Answers } from "../generated/payloads";
import { canonical, LabError, type Request, type ViewName } from "../hosts/contract";
import { askView, type JobEvent } from "../hosts/lab";

export class Opening<Name extends ViewName> {
  payload = $state.raw<Answers[Name] | null>(null);
  error = $state.raw<LabError | null>(null);
  event = $state.raw<JobEvent | null>(null);
  working = $state(false);
  partial = $state(false); // what is in sight is the newest question's, but not all of it
  cancel: () => void = () => {};
  private key = "";

  constructor(readonly view: Name) {}

  open(request: Request): void {
    const key = canonical(this.view, request);
    if (key === this.key) return;
    if (this.working) this.cancel();
    this.key = key;
    this.error = null;
    this.event = null;
    this.working = true;
    this.partial = false;
    const asked = askView(
      this.view, request,
      (event) => {
        if (this.key === key) this.event = event;
      },
      (payload) => {
        if (this.key !== key) return;
        this.payload = payload;
        this.partial = true;
      },
    );
    this.cancel = asked.cancel;
    asked.answer.then(
      (payload) => {
        if (this.key !== key) return;
        this.payload = payload;
        this.partial = false;
        this.working = false;
      },
      (thrown: unknown) => {
        if (this.key !== key) return;
        this.error = LabError.from(thrown);
        this.working = false;
        this.key = "";
      },
    );
  }
}
