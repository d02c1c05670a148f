"""The pictures: each a function from a question to a typed payload, and the list of them all."""

from __future__ import annotations

from .ablation import ablated_answer, ablation
from .activation_heatmap import activation_heatmap
from .activation_map import activation_map
from .adversary import adversary
from .attention import attention
from .attribution_checks import attribution_checks
from .attribution_gallery import attribution_gallery
from .attribution_table import attribution_table
from .contract import View
from .corpus_texts import direction_texts, head_texts
from .direct_attribution import direct_attribution
from .erased import erased
from .feature_visualization import feature_visualization
from .head import head, head_row
from .head_circuits import head_circuits
from .logit_lens import logit_lens
from .mlp import mlp, mlp_neurons
from .network import network
from .neuron import neuron
from .neuron_corpus import corpora, neuron_corpus
from .neuron_prompt import neuron_prompt
from .pairs import text_pair
from .patched import patched_answer
from .patching import patching
from .paths import path_patching
from .probe_ladder import probe_ladder
from .probe_positions import probe_positions
from .prompts import prompts
from .residual import residual
from .residual_edit import residual_edit
from .steering import steering
from .steering_trials import steering_doses, steering_effect
from .token_activations import token_activations
from .token_attribution import token_attribution
from .unit import unit

VIEWS: tuple[View, ...] = (
    ablated_answer,
    ablation,
    activation_heatmap,
    activation_map,
    adversary,
    attention,
    attribution_gallery,
    attribution_checks,
    attribution_table,
    direct_attribution,
    feature_visualization,
    head,
    head_row,
    head_circuits,
    head_texts,
    logit_lens,
    network,
    mlp,
    mlp_neurons,
    neuron,
    patching,
    patched_answer,
    path_patching,
    prompts,
    text_pair,
    erased,
    probe_ladder,
    probe_positions,
    residual,
    residual_edit,
    neuron_corpus,
    corpora,
    neuron_prompt,
    steering,
    steering_doses,
    steering_effect,
    direction_texts,
    token_activations,
    token_attribution,
    unit,
)
REGISTRY: dict[str, View] = {view.name: view for view in VIEWS}
