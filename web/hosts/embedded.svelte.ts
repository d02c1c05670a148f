// The state of a view outside the lab: there is no URL to carry it, so it lives here.

import type { Embedded } from "./embed";
import type { State } from "./contract";

/** `props` whose `state` follows `change`; `kept` is told of every new state. */
export function stateful(props: Omit<Embedded, "state" | "change">, initial: State, kept: (state: State) => void) {
  let state = $state.raw(initial);
  let payload = $state.raw(props.payload);
  return {
    props: {
      ...props,
      get payload() {
        return payload;
      },
      get state() {
        return state;
      },
      change(patch: Record<string, string | null>) {
        const next: State = {};
        for (const [key, value] of Object.entries({ ...state, ...patch })) if (value !== null) next[key] = value;
        state = next;
        kept(next);
      },
    } satisfies Embedded,
    setState: (next: State) => (state = next),
    setPayload: (next: unknown) => (payload = next),
  };
}
