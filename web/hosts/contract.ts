// What a view is given. Every host (the lab page, the notebook, a file) supplies the same four.

import { VIEWS, type Answers, type Requests } from "../generated/payloads";

/** What the picture shows beyond its data: what is pinned, sorted by, switched on. The URL carries it. */
export type State = Record<string, string>;
export type Change = (patch: Record<string, string | null>) => void;

export type ViewName = keyof Answers;
export type Request = Record<string, unknown>;

/** Following work while it lasts, in a host that can: its steps, its payload as far as it is known, and
    how to stop it. */
export interface Watch<Payload> {
  step?: (step: Step) => void;
  sofar?: (payload: Payload) => void;
  signal?: AbortSignal;
}
export interface Step {
  what: string;
  done: number;
  total: number;
}

/** Another payload from the host. It fills in the prompt and model it was opened with. */
export type Ask = <Name extends ViewName>(
  view: Name, request: Partial<Requests[Name]>, watch?: Watch<Answers[Name]>,
) => Promise<Answers[Name]>;

/** Something only this host can do with the picture, such as writing a standalone file. */
export interface Action {
  label: string;
  run: () => Promise<void>;
}

export interface ViewProps<Payload> {
  payload: Payload;
  state: State;
  change: Change;
  ask: Ask;
  actions?: Action[];
  /** The address of another view of the same text, in the host that has pages: the lab. */
  link?: (view: ViewName, state: State) => string;
}

/** An error in the two sentences the Python side writes: what happened, and what to do next. */
export class LabError extends Error {
  constructor(
    message: string,
    readonly hint = "",
    readonly kind = "LabError",
    readonly given: Record<string, unknown> = {},
  ) {
    super(message);
  }

  static from(thrown: unknown): LabError {
    if (thrown instanceof LabError) return thrown;
    if (thrown && typeof thrown === "object" && "message" in thrown) {
      const { message, hint, kind, given } = thrown as Partial<LabError>;
      return new LabError(String(message), hint ?? "", kind ?? "Error", given ?? {});
    }
    return new LabError(String(thrown));
  }
}

/** One spelling a request, what it leaves out filled in: equal requests read equal. */
export function canonical(view: string, request: Request): string {
  const sort = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sort);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sort(item)]),
    );
  };
  const defaults = VIEWS[view as ViewName]?.defaults ?? {};
  return view + JSON.stringify(sort({ ...defaults, ...request }));
}
