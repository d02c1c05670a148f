// The component of each view, by the name it has in Python.

import type { Component } from "svelte";
import type { ViewProps } from "../hosts/contract";
import Ablation from "./Ablation.svelte";
import ActivationHeatmap from "./ActivationHeatmap.svelte";
import ActivationMap from "./ActivationMap.svelte";
import Adversary from "./Adversary.svelte";
import Attention from "./Attention.svelte";
import AttributionGallery from "./AttributionGallery.svelte";
import AttributionTable from "./AttributionTable.svelte";
import DirectAttribution from "./DirectAttribution.svelte";
import FeatureVisualization from "./FeatureVisualization.svelte";
import Head from "./Head.svelte";
import HeadCircuits from "./HeadCircuits.svelte";
import LogitLens from "./LogitLens.svelte";
import Mlp from "./Mlp.svelte";
import Network from "./Network.svelte";
import Steering from "./Steering.svelte";
import ProbeLadder from "./ProbeLadder.svelte";
import Neuron from "./Neuron.svelte";
import Patching from "./Patching.svelte";
import PathPatching from "./PathPatching.svelte";
import Prompts from "./Prompts.svelte";
import TokenActivations from "./TokenActivations.svelte";
import TokenAttribution from "./TokenAttribution.svelte";
import Residual from "./Residual.svelte";
import Unit from "./Unit.svelte";

// Each component reads its own payload type; a name and its payload always come together.

export const views: Record<string, Component<ViewProps<any>>> = {
  ablation: Ablation,
  activation_heatmap: ActivationHeatmap, activation_map: ActivationMap,
  adversary: Adversary,
  attention: Attention,
  attribution_gallery: AttributionGallery,
  attribution_table: AttributionTable,
  direct_attribution: DirectAttribution,
  feature_visualization: FeatureVisualization,
  head: Head,
  head_circuits: HeadCircuits,
  logit_lens: LogitLens,
  network: Network, steering: Steering,
  probe_ladder: ProbeLadder,
  mlp: Mlp,
  neuron: Neuron,
  patching: Patching,
  path_patching: PathPatching,
  prompts: Prompts,
  residual: Residual,
  token_activations: TokenActivations,
  token_attribution: TokenAttribution,
  unit: Unit,
};
