// Which pages of the lab show which views: a page of several views has tabs.

import { VIEWS } from "../generated/payloads";
import type { ViewName } from "../hosts/contract";

export interface Group {
  title: string;
  mark: string;
  tabs: { view: string; title: string }[];
}

const ALL: Group[] = [
  { title: "Attention", mark: "attention", tabs: [{ view: "attention", title: "Heads" }] },
  {
    title: "Residual", mark: "residual",
    tabs: [
      { view: "residual", title: "Stream" },
      { view: "logit_lens", title: "Logit lens" },
      { view: "direct_attribution", title: "Who wrote the answer" },
    ],
  },
  {
    title: "MLP", mark: "mlp",
    tabs: [
      { view: "mlp", title: "Neurons" },
      { view: "token_activations", title: "Units by tokens" },
    ],
  },
  {
    title: "Patching", mark: "patching",
    tabs: [
      { view: "patching", title: "Patching" },
      { view: "path_patching", title: "Paths" },
      { view: "ablation", title: "Ablation" },
      { view: "prompts", title: "Prompts" },
    ],
  },
  { title: "Probes", mark: "probes", tabs: [{ view: "probe_ladder", title: "Probes" }] },
  { title: "Steering", mark: "steering", tabs: [{ view: "steering", title: "Steering" }] },
  {
    title: "Attribution", mark: "attribution",
    tabs: [
      { view: "attribution_gallery", title: "Pictures" },
      { view: "attribution_table", title: "Which method is right" },
      { view: "token_attribution", title: "Tokens" },
    ],
  },
  {
    title: "Features", mark: "features",
    tabs: [
      { view: "feature_visualization", title: "Visualize" },
      { view: "unit", title: "One unit" },
      { view: "activation_heatmap", title: "Heatmap" },
      { view: "activation_map", title: "Layers" },
      { view: "adversary", title: "Misled" },
    ],
  },
];

/** The groups with the views that this build has. */
export const GROUPS = ALL.map((group) => ({ ...group, tabs: group.tabs.filter(({ view }) => view in VIEWS) })).filter(
  ({ tabs }) => tabs.length > 0,
);

export const pathOf = (view: string): string => "/" + view.replaceAll("_", "-");

/** The view that a page shows; views that only other views open have no page. */
export function viewOf(page: string): ViewName | undefined {
  const named = page.replaceAll("-", "_");
  return named === "head" || GROUPS.some(({ tabs }) => tabs.some(({ view }) => view === named)) ? (named as ViewName) : undefined;
}

export const groupOf = (view: string): Group | undefined => GROUPS.find(({ tabs }) => tabs.some((tab) => tab.view === view));
