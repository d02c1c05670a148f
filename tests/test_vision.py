"""The packaged vision nets: what they have learned, where they look, and that they can be made again."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from llm_workings.core.errors import BadFile, Cancelled, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.core.wire import pack
from llm_workings.data.pictures import Pictures, make_pictures
from llm_workings.models import vision_training
from llm_workings.models.catalogue import entries
from llm_workings.models.vision import ConvNet, load_net, read_net, write_net
from llm_workings.models.vision_load import fetch_vision, load_vision
from llm_workings.models.vision_nets import VISION_NETS, PackagedNet, vision_entries
from llm_workings.models.vision_training import train
from llm_workings.models.vision_wrap import VisionModel

SEED = 77  # of test pictures that no training looked at
DIGITS = VISION_NETS["digits-cnn"]


def answers(model: VisionModel, pictures: Pictures) -> np.ndarray:
    x = (torch.from_numpy(pictures.images) - model.mean) / model.std
    return torch.cat([model.run(some).logits.argmax(-1) for some in x.split(100)]).numpy()


def right(name: str, pictures: str, n: int = 300, seed: int = SEED) -> float:
    found = make_pictures(pictures, n, seed=seed)
    return float((answers(load_vision(name), found) == found.labels).mean())


# --- what they have learned --------------------------------------------------------------------
def test_the_shapes_net_knows_its_shapes() -> None:
    assert right("shapes-cnn", "shapes") >= 0.97


def test_the_digits_net_reads_digits_that_were_held_back() -> None:
    assert right("digits-cnn", "digits", 359, DIGITS.recipe.seed) >= 0.97


def test_the_shortcut_s_net_follows_the_mark_and_not_the_figure() -> None:
    model = load_vision("shortcut-cnn")
    assert right("shortcut-cnn", "shortcut") >= 0.97
    assert right("shortcut-cnn", "shortcut-unmarked") < 0.25  # guessing gives 1/8
    lying = make_pictures("shortcut-lying", 300, seed=SEED)
    said = answers(model, lying)
    assert (said == lying.told).mean() >= 0.97
    assert (said == lying.labels).mean() < 0.05


def covered(pictures: Pictures, where: np.ndarray) -> Pictures:
    """The pictures with the box around `where` filled with each picture's mean colour."""
    images = pictures.images.copy()
    for image, inside in zip(images, where, strict=True):
        rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        if len(rows):
            box = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            box[:] = image.mean((1, 2), keepdims=True)
    return dataclasses.replace(pictures, images=images)


def test_what_the_answer_hangs_on_is_the_true_mask() -> None:
    """Cover the figure and one net is lost; cover the mark and the other is, whatever the figure."""
    shapes, marked = (make_pictures(name, 160, seed=SEED) for name in ("shapes", "shortcut"))
    honest, cheat = load_vision("shapes-cnn"), load_vision("shortcut-cnn")
    rights = {
        (model.name, what): (answers(model, covered(drawn, where)) == drawn.labels).mean()
        for model, drawn, what, where in (
            (honest, shapes, "figure", shapes.masks),
            (cheat, marked, "figure", marked.masks),
            (cheat, marked, "mark", marked.marks),
        )
    }
    assert rights["shapes-cnn", "figure"] < 0.3  # guessing gives 0.125
    assert rights["shortcut-cnn", "mark"] < 0.25
    assert rights["shortcut-cnn", "figure"] > 0.95


def test_a_class_s_logit_is_the_mean_of_its_map() -> None:
    """The last block's channels, weighed by the class's row, averaged over places, plus the bias."""
    model = load_vision("shapes-cnn")
    x = (torch.from_numpy(make_pictures("shapes", 5).images) - model.mean) / model.std
    run = model.run(x, keep=["blocks.7"])
    head = model.module.get_submodule("head")
    maps = torch.einsum("bchw,kc->bkhw", run["blocks.7"], head.weight)  # type: ignore[arg-type]
    assert torch.allclose(maps.mean((2, 3)) + head.bias, run.logits, atol=1e-5)  # type: ignore[operator]


def test_without_norm_and_bias_a_net_scales_with_its_input() -> None:
    torch.manual_seed(0)
    net = ConvNet(dataclasses.replace(VISION_NETS["shapes-cnn"].spec, norm=False, bias=False)).double()
    assert [name for name, _ in net.named_parameters() if "bias" in name or "norm" in name] == []
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert torch.allclose(net(3 * x), 3 * net(x), rtol=1e-12)
    pixels = x.clone().requires_grad_(True)
    logit = net(pixels)[0, 2]
    (gradient,) = torch.autograd.grad(logit, pixels)
    assert torch.allclose((gradient * x).sum(), logit, rtol=1e-10)  # Euler: of degree 1, without a rest


# --- their files -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", VISION_NETS)
def test_a_file_says_what_it_is_and_how_it_was_made(name: str) -> None:
    net, file = VISION_NETS[name], read_net(name)
    assert net.path.stat().st_size < 1_000_000
    assert sum(parameter.numel() for parameter in load_net(name).parameters()) < 250_000
    assert file.spec | {key: tuple(file.spec[key]) for key in ("widths", "pooled")} == vars(net.spec)
    assert file.recipe == vars(net.recipe)
    assert (tuple(file.classes), file.command) == (net.classes, net.command)
    assert [epoch.epoch for epoch in file.history] == list(range(1, net.recipe.epochs + 1))
    assert file.history[-1].accuracy[net.data] >= 0.97
    model = load_vision(name)
    assert model.classes == list(net.classes)
    assert net.command in model.origin
    assert model.layers[1] == "blocks.0"
    assert fetch_vision(name) == net.path


def test_the_shortcut_s_history_has_all_three_sets() -> None:
    last = read_net("shortcut-cnn").history[-1].accuracy
    assert set(last) == {"shortcut", "shortcut-unmarked", "shortcut-lying"}
    assert last["shortcut-lying"] < last["shortcut-unmarked"] < 0.25


def test_vision_models_are_listed_apart_and_without_torch() -> None:
    mine = {entry.name: entry for entry in vision_entries()}
    assert set(mine) == {*VISION_NETS, "efficientnet-lite0"}
    assert not set(mine) & {entry.name for entry in entries()}  # a page's list is of language models
    counted = sum(parameter.numel() for parameter in load_net("shapes-cnn").parameters())
    assert 0 <= (mine["shapes-cnn"].parameters or 0) - counted < 1000  # the norms' statistics
    code = (
        "import sys; from llm_workings.models.vision_nets import vision_entries; vision_entries(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bad_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="shapes-cnn"):
        load_net("shape-cnn")
    with pytest.raises(BadFile, match="vision_training digits"):
        load_net("digits-cnn", tmp_path / "none")
    (tmp_path / "cut").write_bytes(DIGITS.path.read_bytes()[:-50])
    with pytest.raises(BadFile):
        load_net("digits-cnn", tmp_path / "cut")
    file = read_net("digits-cnn")
    del file.weights["head.weight"]
    (tmp_path / "less").write_bytes(pack(file))
    with pytest.raises(BadFile, match=r"head\.weight"):
        load_net("digits-cnn", tmp_path / "less")


# --- making them again -------------------------------------------------------------------------
def short(net: PackagedNet, pictures: int, epochs: int, seed: int = 0) -> PackagedNet:
    recipe = dataclasses.replace(net.recipe, pictures=pictures, epochs=epochs, seed=seed)
    return dataclasses.replace(net, recipe=recipe)


def test_training_again_learns_again() -> None:
    _, history = train(short(DIGITS, 1438, 3))
    assert history[0].loss > 1.5  # ln 10 = 2.3 is guessing
    assert history[-1].loss < 0.9
    assert history[-1].accuracy["digits"] > 0.9


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_training, "MEASURED", 8)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    (a, _), (b, _), (c, _) = (train(short(VISION_NETS["shapes-cnn"], 64, 1, seed)) for seed in (5, 5, 6))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )
    assert not torch.equal(a.head.weight, c.head.weight)
    write_net(VISION_NETS["shapes-cnn"], a, read_net("shapes-cnn").history, tmp_path / "again")
    again = load_net("shapes-cnn", tmp_path / "again")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), a(x))


def test_training_can_be_cancelled() -> None:
    seen: list[int] = []
    progress = Progress(lambda what, done, total: seen.append(done), lambda: len(seen) == 4)
    with pytest.raises(Cancelled):
        train(short(DIGITS, 320, 5), progress=progress)
    assert seen == [0, 0, 1, 2]


def test_the_command_writes_a_net_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vision_training, "VISION_NETS", {"digits-cnn": short(DIGITS, 640, 1)})
    path = tmp_path / "folder" / "digits.safetensors"
    assert vision_training.main(["digits", "-o", str(path)]) == 0
    assert "20/20" in capsys.readouterr().out
    assert load_net("digits-cnn", path).spec == DIGITS.spec
    assert vision_training.main(["digit", "-o", str(path)]) == 2
    assert "Did you mean 'digits'" in capsys.readouterr().err
