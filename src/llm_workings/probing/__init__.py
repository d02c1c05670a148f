"""Probing: what a small model can read off a large one's vectors, and how far to believe it.

    from llm_workings.probing import probe, treebank

    report = probe(model, treebank(sentences, "part_of_speech"))

Accuracy alone says little: a probe can learn words by heart. Beside it stand a control task, shuffled
labels, a dictionary of the words, the code length of the labels, and an interval; and erasing what was
found (`leace`) says whether the model uses it.
"""

from .activations import Activations, collect
from .labelled import read_labelled
from .leace import Eraser, effect_of_erasure, leace
from .positions import ByWord, at_word, probe_words
from .probes import fit_linear, fit_mlp, fit_ridge
from .report import ProbeReport, probe, probe_all
from .scores import Split, split_sentences
from .tasks import Task, labelled_texts, treebank
from .templates import template

__all__ = [
    "Activations",
    "ByWord",
    "Eraser",
    "ProbeReport",
    "Split",
    "Task",
    "at_word",
    "collect",
    "effect_of_erasure",
    "fit_linear",
    "fit_mlp",
    "fit_ridge",
    "labelled_texts",
    "leace",
    "probe",
    "probe_all",
    "probe_words",
    "read_labelled",
    "split_sentences",
    "template",
    "treebank",
]
