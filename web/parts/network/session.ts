// What the workbench can ask of whatever stands behind it: a training in the lab, or a recording.

import type { Config, Finding, Predictions, SweepGrid } from "../../generated/payloads";
import type { StepUnit, SweepRequest, Watch } from "../../hosts/live";

export interface Session {
  playing: boolean;
  speed: number; // updates a second; 0: as fast as it goes
  last: number; // the furthest step on this branch's line
  trains: boolean; // past the furthest step too; a recording does not
  play: () => void;
  pause: () => void;
  hurry: (speed: number) => void;
  step: (n: number, unit: StepUnit) => void;
  goto: (branch: number, step: number) => void;
  edit?: (place: string, value: number) => void;
  change?: (patch: Partial<Config>) => void;
  restart?: (seed?: number) => void;
  watch?: (what: Watch) => void;
  findings: Finding[];
  asking?: {
    // what needs a network that can be run
    predictions: Predictions | null;
    grid: SweepGrid | null;
    sweeping: boolean;
    predict: (points: number[][]) => void;
    sweep: (request: SweepRequest) => void;
    stop: () => void;
    open: (config: Config) => void; // a cell of the sweep, as the network in the picture
  };
}

/** Updates a second that can be chosen, the slowest for reading along. */
export const SPEEDS: { value: number; name: string }[] = [
  { value: 2, name: "2 a second" },
  { value: 10, name: "10 a second" },
  { value: 60, name: "60 a second" },
  { value: 150, name: "150 a second" },
  { value: 600, name: "600 a second" },
  { value: 3000, name: "3,000 a second" },
  { value: 0, name: "full speed" },
];
