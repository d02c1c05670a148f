"""Anybody's convolutional net, wrapped: what is listed, kept, handled and refused."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from vision_peers import peer

from llm_workings.core.errors import BadFile, BadInput, BadShape, NotSupported, UnknownName
from llm_workings.models.vision_load import load_state, load_vision
from llm_workings.models.vision_wrap import wrap


def net(**parts: nn.Module) -> nn.Sequential:
    named: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 4, 3, padding=1),
        norm1=nn.BatchNorm2d(4),
        relu1=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(4, 6, 3, padding=1),
        relu2=nn.ReLU(inplace=True),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        head=nn.Linear(6, 5),
    )
    named.update(parts)
    torch.manual_seed(0)
    return nn.Sequential(named)


class Residual(nn.Module):
    """One ReLU used three times, and a sum in place, as in torchvision's ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu, self.idle = nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = self.relu(self.conv1(x))
        found = self.conv2(found)
        found += x
        found = self.relu(found)
        found = self.relu(found - 0.1)
        return self.head(found.mean((2, 3)))


class Gives(nn.Module):
    """A net with what `make` makes of its logits as its answer."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.conv, self.make = nn.Conv2d(3, 5, 3), make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.conv(x))


def pictures(n: int = 2, size: int = 12) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- what is listed and kept -----------------------------------------------------------------------
def test_layers_are_listed_in_the_order_they_run() -> None:
    blocks = nn.Sequential(OrderedDict(a=net()[:3], b=net()[3:5], head=net()[5:]))
    model = wrap(blocks, size=12)
    assert model.layers == ["a.conv1", "a", "b.conv2", "b"]
    assert model.shapes["b"] == (6, 12, 12)
    assert wrap(blocks, ["b", "a.relu1"], size=12).layers == ["b", "a.relu1"]
    assert (model.channels, model.size, model.classes[4]) == (3, (12, 12), "class 4")
    assert model.parameters == sum(parameter.numel() for parameter in blocks.parameters())


def test_the_wrapped_net_is_a_copy_in_eval_mode_with_nothing_in_place() -> None:
    given = net().train()
    model = wrap(given, size=12)
    assert given.training
    assert given.relu1.inplace  # type: ignore[union-attr]
    assert not model.module.training
    assert not any(getattr(part, "inplace", False) for part in model.module.modules())
    before = given.norm1.running_mean.clone()  # type: ignore[union-attr, operator]
    x = pictures()
    assert torch.allclose(model.run(x).logits[:1], model.run(x[:1]).logits, atol=1e-6)  # no batch statistics
    assert torch.equal(given.norm1.running_mean, before)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        assert torch.equal(model.run(x).logits, given.eval()(x))


def test_activations_are_those_of_the_net_by_hand() -> None:
    given = net().eval()
    model, x = wrap(given, size=12), pictures()
    run = model.run(x, keep=["input", "conv1", "norm1", "relu1"])
    with torch.no_grad():
        conv = given.conv1(x)  # type: ignore[operator]
        norm = given.norm1(conv)  # type: ignore[operator]
    assert torch.equal(run["input"], x)
    assert torch.equal(run["conv1"], conv)
    assert torch.equal(run["norm1"], norm)  # though the net as given overwrites it
    assert torch.equal(run["relu1"], norm.relu())
    assert not run.logits.requires_grad
    with pytest.raises(UnknownName, match="conv1"):
        run["conv3"]


def test_gradients_are_autograd_s() -> None:
    given = net().eval()
    model, x = wrap(given, size=12), pictures()
    run = model.run(x, keep=["conv2", "input", "head"], gradients=True)
    found = run.gradients(run.logits[:, 3].sum())
    pixels = x.clone().requires_grad_(True)
    given(pixels)[:, 3].sum().backward()
    assert torch.allclose(found["input"], pixels.grad, atol=1e-7)  # type: ignore[arg-type]
    assert found["conv2"].shape == (2, 6, 12, 12)
    one = torch.zeros(2, 5)
    one[:, 3] = 1
    assert torch.equal(found["head"], one)
    again = run.gradients(run.logits[0, 1] - run.logits[0, 2])  # the graph is still there
    assert (again["input"][1] == 0).all()
    assert (again["input"][0] != 0).any()
    for bad, says in ((run.logits[0], "one number"), (torch.zeros(()), "without a graph")):
        with pytest.raises(BadInput, match=says):
            run.gradients(bad)
    with pytest.raises(BadInput, match="kept"):
        model.run(x, gradients=True).gradients(torch.zeros(()))


# --- what other code does to activations -------------------------------------------------------------
def test_a_module_used_several_times_is_named_by_its_call() -> None:
    given = Residual().eval()
    model, x = wrap(given, size=12), pictures()
    assert model.layers == ["conv1", "conv2"]
    assert model.calls["relu"] == 3
    run = model.run(x, keep=["relu:0", "relu:2"])
    with torch.no_grad():
        first = given.conv1(x).relu()
        last = ((given.conv2(first) + x).relu() - 0.1).relu()
    assert torch.equal(run["relu:0"], first)
    assert torch.equal(run["relu:2"], last)
    with pytest.raises(BadInput, match=r"used 3 times.*relu:0 to relu:2"):
        model.run(x, keep=["relu"])
    with pytest.raises(BadInput, match="no call 3"):
        model.run(x, keep=["relu:3"])
    with pytest.raises(BadInput, match="never runs"):
        model.run(x, keep=["idle"])


def test_layers_without_a_tensor_and_layers_that_run_sometimes() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dark, self.two = nn.Conv2d(3, 2, 3), nn.ReLU(), Gives(lambda x: (x, x))

        def forward(self, x: Tensor) -> Tensor:
            found = self.conv(x) + self.two(x)[0][:, :2]
            return (self.dark(found) if x.max() == 0 else found).mean((2, 3))

    model = wrap(Sometimes(), size=12)
    with pytest.raises(BadInput, match="no tensor"):
        model.run(pictures(), keep=["two"])
    with pytest.raises(BadInput, match="dark did not run"):
        model.run(pictures(), keep=["dark"])
    assert model.layers == ["conv", "two.conv"]


def test_what_is_overwritten_later_is_kept_as_it_was() -> None:
    given = Residual().eval()
    model, x = wrap(given, size=12), pictures()
    run = model.run(x, keep=["conv2"], gradients=True)
    with torch.no_grad():
        conv2 = given.conv2(given.conv1(x).relu())
        assert torch.allclose(run.logits, given(x))
    assert torch.equal(run["conv2"], conv2)
    gradient = run.gradients(run.logits[:, 0].sum())["conv2"]
    moved = conv2.clone().requires_grad_(True)
    given.head(((moved + x).relu() - 0.1).relu().mean((2, 3)))[:, 0].sum().backward()
    assert torch.allclose(gradient, moved.grad)  # type: ignore[arg-type]


def test_a_first_layer_in_place_leaves_the_pixels_alone() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rest = net()

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(F.relu_(x.sub_(0.5)))

    model, x = wrap(First(), size=12), pictures()
    before = x.clone()
    run = model.run(x, keep=["input"], gradients=True)
    assert torch.equal(x, before)
    assert torch.equal(run["input"], before)
    assert (run.gradients(run.logits.sum())["input"] != 0).any()


# --- pictures in ----------------------------------------------------------------------------------
def test_a_picture_is_scaled_by_channel_and_back() -> None:
    model = wrap(net(), size=12, mean=(0.1, 0.2, 0.3), std=0.5)
    picture = pictures(1)[0]
    x = model.prepare(picture)
    assert torch.allclose(x[0, 2], (picture[2] - 0.3) / 0.5)
    assert torch.allclose(model.pixels(x)[0], picture, atol=1e-6)
    assert model.prepare(np.ones((1, 40, 20), np.float32)).shape == (1, 3, 12, 12)
    for bad, error, says in (
        (np.ones((12, 12)), BadShape, r"\[12, 12\]"),
        (np.ones((4, 12, 12)), BadShape, "4"),
        (np.full((3, 12, 12), 255.0), BadInput, "255"),
        (np.full((3, 12, 12), np.nan), BadInput, "finite"),
    ):
        with pytest.raises(error, match=says):
            model.prepare(bad)
    for shape in ((1, 3, 12, 11), (3, 12, 12), (0, 3, 12, 12)):
        with pytest.raises(BadShape, match="prepare"):
            model.run(torch.zeros(shape))


def test_classes_have_names_and_numbers() -> None:
    model = wrap(net(), size=12, classes=["cat", "dog", "cow", "hen", "owl"])
    assert (model.class_of("dog"), model.class_of(4), model.class_of("2")) == (1, 4, 2)
    with pytest.raises(UnknownName, match="'cow'"):
        model.class_of("crow")
    with pytest.raises(BadInput, match="0 to 4"):
        model.class_of(5)
    best = model.top(pictures(1), 5)
    assert sum(probability for _, probability in best) == pytest.approx(1)
    assert best[0][1] >= best[1][1]


# --- what is refused -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x: (x, x), "2 outputs in a tuple"),
        (lambda x: {"out": x}, "1 outputs in a dict"),
        (lambda x: x, r"\[1, 5, 10, 10\]"),
        (lambda x: x.mean(), r"\[\]"),
    ],
)
def test_an_answer_that_is_no_row_of_logits_is_refused(make: Any, says: str) -> None:
    with pytest.raises(NotSupported, match=says):
        wrap(Gives(make), size=12)


@pytest.mark.parametrize(
    ("given", "options", "error", "says"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(432, 5)), {}, BadInput, "no convolution"),
        (nn.Sequential(nn.Conv2d(7, 2, 3)), {}, NotSupported, "7 channels"),
        (nn.Sequential(nn.Conv2d(3, 2, 30), nn.Flatten()), {}, BadInput, "3 x 12 x 12"),
        (net(), {"classes": ["a"]}, BadInput, "5 numbers, and 1"),
        (net(), {"mean": (0.5, 0.5)}, BadInput, "3 channels"),
        (net(), {"std": 0}, BadInput, "std of 0"),
        (net(), {"size": 0}, BadInput, "0 by 0"),
        (net(), {"layers": ["conv3"]}, UnknownName, "'conv1' or 'conv2'|'conv2' or 'conv1'"),
        ("resnet", {}, BadInput, "str is no torch.nn.Module"),
    ],
)
def test_what_cannot_be_wrapped(given: Any, options: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        wrap(given, **{"size": 12, **options})


# --- other libraries --------------------------------------------------------------------------------
def test_a_resnet_of_torchvision_is_wrapped(tmp_path: Path) -> None:
    peer("torchvision")
    from torchvision.models import resnet18

    model = load_vision("torchvision:resnet18")
    assert "random weights" in model.origin
    assert {"conv1", "layer1", "layer4.1", "layer4.1.conv2"} <= set(model.layers)
    assert model.layers[0] == "conv1"
    assert model.layers.index("layer1") < model.layers.index("layer2.0.conv1")
    x = model.prepare(np.random.default_rng(0).uniform(size=(3, 100, 150)).astype(np.float32))
    run = model.run(x, keep=["layer4", "layer4.1.bn2", "layer4.1.relu:1"], gradients=True)
    assert torch.equal(run["layer4"], run["layer4.1.relu:1"])
    # The sum in place after bn2 is undone in what is kept: adding it by hand gives the block's output.
    with torch.no_grad():
        block = model.module.get_submodule("layer4.1")
        before = model.run(x, keep=["layer4.0"])["layer4.0"]
        assert torch.allclose((run["layer4.1.bn2"] + before).relu(), block(before), atol=1e-6)
    gradient = run.gradients(run.logits[0, 281])["layer4"]  # the mean over 7 x 7 places, then linear
    weight = model.module.get_submodule("fc").weight[281]  # type: ignore[index]
    assert torch.allclose(gradient[0], (weight / 49)[:, None, None].expand(512, 7, 7), atol=1e-7)
    assert model.classes[281] == "tabby"

    other = resnet18(weights=None)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    loaded = load_vision("torchvision:resnet18", weights=tmp_path / "other.safetensors")
    assert torch.equal(loaded.run(x).logits, wrap(other).run(x).logits)
    with pytest.raises(UnknownName, match="torchvision:resnet18"):
        load_vision("torchvision:resnet81")


def test_weights_of_a_file_go_into_a_module_that_fits(tmp_path: Path) -> None:
    given = net()
    save_file(given.state_dict(), tmp_path / "net.safetensors")
    torch.manual_seed(5)
    other = load_state(net(), tmp_path / "net.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), other.parameters(), strict=True))
    with pytest.raises(BadFile, match="head"):
        load_state(net(head=nn.Linear(6, 4)), tmp_path / "net.safetensors")
    torch.save(given.state_dict(), tmp_path / "net.pth")
    with pytest.raises(BadFile, match="pickle") as refused:
        load_state(net(), tmp_path / "net.pth")
    assert "weights_only=True" in refused.value.hint
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:-9])
    with pytest.raises(BadFile, match="cut short"):
        load_state(net(), tmp_path / "cut.safetensors")
    with pytest.raises(BadInput, match="no file"):
        load_state(net(), tmp_path / "none.safetensors")


def test_names_that_mean_nothing() -> None:
    with pytest.raises(UnknownName, match="shapes-cnn"):
        load_vision("shapes-cn")
    with pytest.raises(UnknownName, match="timm:NAME"):
        load_vision("tim:resnet18")
    with pytest.raises(BadInput, match="own weights"):
        load_vision("digits-cnn", weights="x.safetensors")
