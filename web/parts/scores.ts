// The scores that the atlas can be sorted by, and what each of them says.

import type { HeadScores } from "../generated/payloads";

export type ScoreName = keyof HeadScores;

export const SCORES: Record<ScoreName, { title: string; about: string }> = {
  previous_token: { title: "Previous token", about: "mean weight on the token just before" },
  induction: { title: "Induction", about: "mean weight on what followed an earlier copy of this token" },
  duplicate_token: { title: "Duplicate token", about: "mean weight on earlier copies of this token" },
  first_token: { title: "First token", about: "mean weight on the first token, where a head rests that has nothing to do" },
  entropy: { title: "Entropy", about: "how spread out the weights are, in nats; 0 looks at one token" },
};

export const SCORE_NAMES = Object.keys(SCORES) as ScoreName[];
