// How the lines of a step are grouped and named.

import type { Algebra, Equation } from "../../generated/payloads";

export type Section = Equation["section"];

/** In the order of the computation, with what each is for. */
export const SECTIONS: Record<Section, { title: string; about: string }> = {
  forward: { title: "Forward", about: "what the network answers to this sample" },
  loss: { title: "Loss", about: "how wrong that is" },
  backward: { title: "Backward", about: "the chain rule, from the loss back to every unit" },
  gradient: { title: "Gradient", about: "of every parameter, the mean over the batch" },
  penalty: { title: "Penalty", about: "what L1 and L2 add to it" },
  clip: { title: "Clipping", about: "a gradient that is too long is shortened" },
  optimizer: { title: "Optimizer", about: "from the gradient to a step" },
  update: { title: "Update", about: "the parameters after it" },
};

export interface Group {
  section: Section;
  title: string;
  about: string;
  layers: { layer: number; named: boolean; equations: Equation[] }[];
  count: number;
}

/** The equations by section and, within it, by layer, in the order they come. */
export function grouped(algebra: Algebra, keep: (equation: Equation) => boolean = () => true): Group[] {
  const groups = new Map<Section, Group>();
  for (const section of Object.keys(SECTIONS) as Section[]) groups.set(section, { section, ...SECTIONS[section], layers: [], count: 0 });
  for (const equation of algebra.equations) {
    const group = groups.get(equation.section);
    if (!group || !keep(equation)) continue;
    let last = group.layers.at(-1);
    if (last?.layer !== equation.layer) group.layers.push((last = { layer: equation.layer, named: false, equations: [] }));
    last.equations.push(equation);
    group.count += 1;
  }
  // A layer is named where the lines pass to it from another one.
  for (const { layers } of groups.values()) {
    const own = layers.filter(({ layer }) => layer > 0);
    own.forEach((part, i) => (part.named = own.some(({ layer }) => layer !== part.layer) && own[i - 1]?.layer !== part.layer));
  }
  return [...groups.values()].filter((group) => group.count > 0);
}
