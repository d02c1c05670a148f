// A recorded run as something to play: its frames in order, and nothing that needs the network itself.

import type { Details, Finding, Frame, Recording } from "../../generated/payloads";
import type { Session } from "./session";

const PACE = 90; // milliseconds a frame is in sight

/** The index of the frame of `branch` whose step is nearest; of any branch where that one has none. */
export function nearestFrame(frames: Pick<Frame, "branch" | "step">[], branch: number, step: number): number {
  let best = 0;
  let least = Infinity;
  frames.forEach((frame, i) => {
    const distance = Math.abs(frame.step - step) + (frame.branch === branch ? 0 : 1e12);
    if (distance < least) [least, best] = [distance, i];
  });
  return best;
}

export class Replay implements Session {
  at = $state(0);
  playing = $state(false);
  readonly speed = 0;
  readonly trains = false;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(private recording: () => Recording, first: number | null, private kept: (step: number) => void) {
    const { frames, tree } = recording();
    this.at = first === null ? frames.length - 1 : nearestFrame(frames, tree.branch, first);
  }

  get frame(): Frame {
    const { frames } = this.recording();
    return frames[Math.min(this.at, frames.length - 1)]!;
  }

  get details(): Details | null {
    const { frame } = this;
    return this.recording().details.find(({ branch, step }) => branch === frame.branch && step === frame.step) ?? null;
  }

  get findings(): Finding[] {
    return this.details?.findings ?? [];
  }

  get last(): number {
    const { frame } = this;
    return this.recording().frames.reduce((most, { branch, step }) => (branch === frame.branch ? Math.max(most, step) : most), 0);
  }

  private show(at: number): void {
    this.at = Math.min(this.recording().frames.length - 1, Math.max(0, at));
    if (!this.playing) this.kept(this.frame.step);
  }

  play = (): void => {
    if (this.at === this.recording().frames.length - 1) this.at = 0;
    this.playing = true;
    clearInterval(this.timer);
    this.timer = setInterval(() => {
      if (this.at >= this.recording().frames.length - 1) this.pause();
      else this.show(this.at + 1);
    }, PACE);
  };

  pause = (): void => {
    clearInterval(this.timer);
    this.playing = false;
    this.kept(this.frame.step);
  };

  hurry = (): void => {};

  step = (n: number): void => {
    if (this.playing) this.pause();
    this.show(this.at + n);
  };

  goto = (branch: number, step: number): void => {
    if (this.playing) this.pause();
    this.show(nearestFrame(this.recording().frames, branch, step));
  };
}
