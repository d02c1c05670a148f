"""Occlusion and class activation maps: against Captum and pytorch-grad-cam, and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vision_peers import Residual, close, conv_net, images, peer, seeded

from llm_workings.attribution.cams import METHODS, cam, cams, map_layers, score_cam
from llm_workings.attribution.occlusion import occlusion
from llm_workings.attribution.targets import difference, probability
from llm_workings.core.errors import BadInput, BadShape, NotSupported, UnknownName

# ---- occlusion -------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize(
    ("window", "stride"),
    [((3, 4, 4), (3, 4, 4)), ((3, 5, 3), (3, 2, 3)), ((2, 4, 5), (1, 3, 2)), ((1, 1, 12), (1, 1, 12))],
)
def test_occlusion_equals_captum(window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    attr = peer("captum.attr")
    net, x, classes = conv_net(), images(2), torch.tensor([2, 0])
    base = images(2, seed=6)
    theirs = attr.Occlusion(net).attribute(x, window, stride, baselines=base, target=classes)
    ours = occlusion(net, x, classes, window=window, stride=stride, baseline=base)
    close(ours.values, theirs.double(), 1e-6)  # Captum's losses are float32
    for batch in (1, 7, 1000):
        again = occlusion(net, x, classes, window=window, stride=stride, baseline=base, batch=batch)
        close(again.values, ours.values)


def test_a_window_over_everything_takes_the_whole_score_away() -> None:
    net, x = conv_net(), images(2)
    found = occlusion(net, x, probability(1), window=12)
    with torch.no_grad():
        lost = net(x).softmax(-1)[:, 1] - net(torch.zeros_like(x)).softmax(-1)[:, 1]
    close(found.values, lost.view(-1, 1, 1, 1).expand_as(x))
    four = occlusion(net, x, 1, window=6, stride=6)
    close(four.values, occlusion(net, x, 1, window=(3, 6, 6)).values)
    assert occlusion(net, x, 1, window=(6,)).values[0, 0, 0].unique().numel() == 2  # columns, all rows


def test_windows_that_do_not_fit() -> None:
    net, x = conv_net(), images(1)
    with pytest.raises(BadInput, match="window of 13 is larger than the input, 12"):
        occlusion(net, x, 0, window=13)
    with pytest.raises(BadInput, match="stride of 5 skips places"):
        occlusion(net, x, 0, window=4, stride=5)
    with pytest.raises(BadInput, match="window"):
        occlusion(net, x, 0, window=0)
    silent = occlusion(net, x, lambda scores: scores.new_ones(len(scores)))
    assert "No window changes the score at all." in silent.notes


# ---- class activation maps -------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize("layer", ["0", "1", "3", "4"])
def test_maps_equal_pytorch_grad_cam(layer: str) -> None:
    """Its maps are rounded to float32 and scaled to 0..1; the comparison is made before that."""
    theirs = peer("pytorch_grad_cam")
    names = {
        "Grad-CAM": theirs.GradCAM,
        "Grad-CAM++": theirs.GradCAMPlusPlus,
        "HiResCAM": theirs.HiResCAM,
        "LayerCAM": theirs.LayerCAM,
        "XGradCAM": theirs.XGradCAM,
    }
    assert set(names) == set(METHODS)
    x, classes = images(), [2, 0, 4]
    net = conv_net()
    ours = cams(net, x, torch.tensor(classes), [layer])
    target = peer("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    for name, kind in names.items():
        maps: list[np.ndarray] = []

        class Kept(kind):  # type: ignore[misc, valid-type]
            def get_cam_image(self, *args: object, maps: list = maps, **kwargs: object) -> np.ndarray:
                maps.append(super().get_cam_image(*args, **kwargs))
                return maps[-1]

        with Kept(net.requires_grad_(True), [net.get_submodule(layer)]) as peers_own:
            shown = peers_own(x, [target(index) for index in classes])
        close(ours[name, layer].values, torch.from_numpy(maps[0]))
        picture = ours[name, layer].picture((12, 12)).numpy()
        if name == "Grad-CAM" and layer == "4":
            assert np.argmax(picture[0]) // 12 // 2 == np.argmax(shown[0]) // 12 // 2


@pytest.mark.peer
def test_grad_cam_of_layers_equals_captum() -> None:
    attr = peer("captum.attr")
    net, x = conv_net(), images()
    for layer in ("0", "2", "3", "5"):
        theirs = attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, 2)
        close(cam(net, x, 2, layer).values, theirs[:, 0].detach())


@pytest.mark.peer
def test_score_cam_equals_pytorch_grad_cam() -> None:
    theirs = peer("pytorch_grad_cam")
    target = peer("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    net, x = conv_net(), images(2)
    ours = score_cam(net, x, torch.tensor([2, 0]), "3")
    with theirs.ScoreCAM(net, [net[3]]) as peers_own:
        weights = peers_own.get_cam_weights(
            x, None, [target(2), target(0)], net[:4](x).detach().numpy(), None
        )
    made = (torch.from_numpy(weights).double()[..., None, None] * net[:4](x)).sum(1).detach()
    close(ours.values, made, 1e-5)  # its scores are float32
    close(score_cam(net, x, torch.tensor([2, 0]), "3", batch=3).values, ours.values)


def pooled(classes: int = 4) -> nn.Sequential:
    """Global average pooling and one linear layer: where a class activation map was first defined."""
    return seeded(  # type: ignore[return-value]
        nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes)
        )
    )


def test_after_global_average_pooling_grad_cam_and_hires_cam_are_cam() -> None:
    net, x = pooled(), images()
    features = net[:2](x).detach()
    plain = torch.einsum("c,bchw->bhw", net[4].weight[3].detach(), features) / 100  # CAM / (height · width)
    found = cams(net, x, 3, ["1"])
    close(found["Grad-CAM", "1"].values, plain)
    close(found["HiResCAM", "1"].values, plain)
    close(found["HiResCAM", "1"].sum, found["HiResCAM", "1"].score - net[4].bias[3].detach())


def test_all_layers_at_once_are_each_layer_alone() -> None:
    net, x = seeded(Residual(reuse=False)), images()
    layers = map_layers(net, x)
    assert layers == [
        "stem",
        "norm",
        "relu",
        "first",
        "first_norm",
        "relu2",
        "second",
        "second_norm",
        "relu3",
    ]
    found = cams(net, x, difference(1, 2))
    assert set(found) == {(method, layer) for method in METHODS for layer in layers}
    for layer in layers:
        close(found["LayerCAM", layer].values, cam(net, x, difference(1, 2), layer, "LayerCAM").values)


def test_layers_written_over_in_place_keep_what_they_gave() -> None:
    plain, writing = seeded(Residual(reuse=False)), seeded(Residual(reuse=False, inplace_sum=True))
    ours, theirs = cams(writing, images(), 1), cams(plain, images(), 1)
    for key, found in theirs.items():
        close(ours[key].values, found.values)
    net, same = conv_net(inplace=True), conv_net()
    close(cam(net, images(), 1, "3").values, cam(same, images(), 1, "3").values)


def test_layers_that_cannot_be_mapped() -> None:
    net, x = seeded(Residual()), images()
    assert "relu" not in map_layers(net, x)
    with pytest.raises(NotSupported, match="'relu' runs more than once"):
        cam(net, x, 0, "relu")
    with pytest.raises(UnknownName, match="Did you mean 'second'"):
        cam(net, x, 0, "secnd")
    with pytest.raises(UnknownName, match=r"Did you mean .*'Grad-CAM'"):
        cam(net, x, 0, "stem", "GradCAM")
    with pytest.raises(BadShape, match=r"'head' answers with the shape \[3, 5\]"):
        cam(net, x, 0, "head")
    with pytest.raises(BadInput, match="No layer"):
        cams(net, x, 0, [])


def test_a_map_behind_which_nothing_happens_says_so() -> None:
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x).mean((2, 3))

    found = cam(seeded(Ends()), images(), 0, "unused")
    assert found.values.abs().max() == 0
    assert "gradient is zero everywhere" in found.notes[0]
    assert found.picture((12, 12)).shape == (3, 12, 12)
