// A payload of paths as a patching grid, and the way that was gone from receiver to receiver.

import type { Paths, Patching } from "../../generated/payloads";
import type { Layout } from "./layout";
import { layoutOf } from "./layout";

/** Every sender as a node: the grid of heads and MLPs is the same. */
export function asNodes(paths: Paths): Patching {
  const [layers, units] = paths.values.shape as [number, number];
  return {
    ...paths,
    kind: "nodes", axes: ["layer", "node"], layers: Array.from({ length: layers }, (_, layer) => layer),
    values: { data: paths.values.data, shape: [layers, units, 1] },
    strongest: paths.strongest.map(({ layer, head, effect }) => ({
      layer, unit: head, position: null, name: head === null ? `MLP ${layer}` : `${layer}.${head}`,
      value: effect + (paths.direction === "denoising" ? paths.corrupted_value : paths.clean_value),
    })),
  };
}

/** The layout of the nodes; what comes after the receivers sends nothing, and is no cell. */
export function layoutOfPaths(paths: Paths, nodes: Patching): Layout {
  const layout = layoutOf(nodes);
  const [layers, units] = paths.values.shape as [number, number];
  const last = Math.max(-1, ...Array.from({ length: layers }, (_, layer) => (paths.sends.data[layer * units] ? layer : -1)));
  const spot: Layout["spot"] = (cell) => {
    const found = layout.spot(cell);
    const unit = found?.unit ?? paths.model.n_heads;
    return found && paths.sends.data[found.layer * units + unit] ? found : null;
  };
  return { ...layout, columns: last + 1, spot };
}

const THROUGH: Record<string, string> = { q: "query", k: "keys", v: "values" };

/** "v.23.3" as "the values of 23.3"; the logits as they are. */
export function receiverName(text: string): string {
  const parts = text.split(",").map((one) => {
    const [through, layer, head] = one.trim().split(".");
    return THROUGH[through!] ? `${THROUGH[through!]} of ${layer}.${head}` : "logits";
  });
  return `the ${parts.join(" and the ")}`;
}

/** The receivers that led here, oldest first. */
export const readTrail = (text: string | undefined): string[] => (text ? text.split(";").filter(Boolean) : []);
export const writeTrail = (trail: string[]): string | null => (trail.length ? trail.join(";") : null);
