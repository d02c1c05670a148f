// The scores that the atlas can be sorted by, and what each of them says.

import type { Attention, HeadScores } from "../generated/payloads";

export type ScoreName = keyof HeadScores | "moved";

export const SCORES: Record<ScoreName, { title: string; about: string }> = {
  previous_token: { title: "Previous token", about: "mean weight on the token just before" },
  induction: { title: "Induction", about: "mean weight on what followed an earlier copy of this token" },
  duplicate_token: { title: "Duplicate token", about: "mean weight on earlier copies of this token" },
  first_token: { title: "First token", about: "mean weight on the first token, where a head rests that has nothing to do" },
  entropy: { title: "Entropy", about: "how spread out the weights are, in nats; 0 looks at one token" },
  moved: { title: "Looks elsewhere", about: "share of a query's weight that goes elsewhere in the other text, on the mean" },
};

const OF_ONE_TEXT = ["previous_token", "induction", "duplicate_token", "first_token", "entropy"] as const;

/** The scores that there are: the last needs a second text that aligns. */
export const scoreNames = (payload: Attention): ScoreName[] => (aligned(payload) ? [...OF_ONE_TEXT, "moved"] : [...OF_ONE_TEXT]);

export const aligned = (payload: Attention): boolean => payload.other !== null && payload.other.apart === "";

/** The score of every head, layer by layer. */
export function scoresOf(payload: Attention, name: ScoreName): Float32Array {
  return name === "moved" ? payload.other!.moved.data : payload.scores[name].data;
}

/** On how many queries a score rests. */
export function queriesOf(payload: Attention, name: ScoreName): number {
  return name === "moved" ? payload.tokens.length : payload.score_queries[name];
}
