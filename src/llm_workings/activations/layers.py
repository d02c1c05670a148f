"""Whole layers: how kinds of input gather in them, how well those can be told apart, how alike layers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_workings.core.errors import BadInput, BadShape, NotSupported
from llm_workings.core.progress import SILENT, Progress

HELD_BACK = 0.3


@dataclass(frozen=True)
class Gathering:
    """How the inputs of a set lie in one layer.

    Attributes:
        layer: which.
        flat: `[n, 2]`: where each input is drawn; `shares`: the share of the variance of each of the two
            directions (of PCA; None for a drawing that is not linear).
        clusters: `[n]`: k-means, with as many clusters as there are classes.
        agreement: of clusters with classes, the adjusted Rand index: 1 the same, 0 as by chance.
        silhouette: of the classes, -1 to 1: how much nearer an input is to its own class than to the next.
        separability: accuracy of a linear probe on inputs held back; `majority`: what naming the most common
            class would have.
    """

    layer: str
    flat: NDArray[np.float64]
    shares: tuple[float, float] | None
    clusters: NDArray[np.int64]
    agreement: float
    silhouette: float
    separability: float
    majority: float


def gather(
    layers: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    drawing: str = "pca",
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Gathering]:
    """Each layer's gathering, in order. Units are standardized; those that never change are left out.

    Args:
        layers: by layer, `[n, unit]`.
        labels: `[n]`.
        drawing: `pca`, or `umap` if umap-learn is installed: it draws neighbours near each other, and what is
            far apart in it means nothing.
        seed: of the clusters, the split and the drawing.

    Raises:
        BadInput: fewer than two classes or three inputs of each.
        NotSupported: umap that is not installed.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    kinds, counts = np.unique(labels, return_counts=True)
    if len(kinds) < 2 or counts.min() < 3:
        raise BadInput(
            f"{len(kinds)} classes of {min(counts, default=0)} inputs at least cannot be compared.",
            hint="Give two classes at least, and three inputs of each.",
        )
    found = []
    for number, (layer, values) in enumerate(layers.items()):
        progress.report(f"gathering {layer}", number, len(layers))
        scaled = standardized(values)
        clusters = KMeans(len(kinds), n_init=4, random_state=seed).fit_predict(scaled)
        flat, shares = _flat(scaled, drawing, seed)
        accuracy, majority = separability(values, labels, seed=seed)
        agreement, silhouette = adjusted_rand_score(labels, clusters), silhouette_score(scaled, labels)
        clusters = clusters.astype(np.int64)
        found.append(
            Gathering(layer, flat, shares, clusters, float(agreement), float(silhouette), accuracy, majority)
        )
    return found


def standardized(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """`[n, unit]` with mean 0 and spread 1, without the units that never change; zeros if none does."""
    wide = values.astype(np.float64)
    spread = wide.std(0)
    moving = spread > 1e-9 * max(float(spread.max()), 1e-30)
    if not moving.any():
        return np.zeros((len(wide), 1))
    return (wide[:, moving] - wide[:, moving].mean(0)) / spread[moving]


def separability(
    values: NDArray[np.floating], labels: NDArray[np.integer], *, seed: int = 0
) -> tuple[float, float]:
    """A linear probe's accuracy on inputs held back, and the most common class's share of them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    scaled = standardized(values)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=HELD_BACK, random_state=seed, stratify=labels
    )
    probe = LogisticRegression(C=0.1, max_iter=400).fit(scaled[train], labels[train])
    common = np.bincount(labels[train] - labels.min()).argmax() + labels.min()
    return float(probe.score(scaled[test], labels[test])), float((labels[test] == common).mean())


def cka(a: NDArray[np.floating], b: NDArray[np.floating], *, unbiased: bool = True) -> float:
    """Linear centred kernel alignment of two layers on the same inputs, 1 for layers alike up to a rotation.

    With K = a aᵀ and L = b bᵀ: HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) (Kornblith et al. 2019). The plain
    estimator is near 1 wherever units outnumber inputs, whatever they hold; the unbiased one (Song et al.
    2012, equation 5; used so by Nguyen et al. 2021) is near 0 for layers that share nothing.

    Args:
        a, b: `[n, unit]`, of the same n inputs (at least 4 where unbiased).

    Raises:
        BadShape: not of the same inputs. BadInput: too few.
    """
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise BadShape(f"The layers have {list(a.shape)} and {list(b.shape)}: they need the same inputs.")
    if len(a) < (4 if unbiased else 2):
        raise BadInput(f"{len(a)} inputs are too few to compare layers on.", hint="Give four at least.")
    k, l = (x @ x.T for x in (_centred(a), _centred(b)))
    hsic = _hsic_unbiased if unbiased else lambda p, q: float((p * q).sum())
    whole = hsic(k, k) * hsic(l, l)
    return float(hsic(k, l) / np.sqrt(whole)) if whole > 0 else 0.0


def similarity(
    first: Mapping[str, NDArray[np.floating]],
    second: Mapping[str, NDArray[np.floating]] | None = None,
    *,
    unbiased: bool = True,
) -> NDArray[np.float64]:
    """`[layer, layer]`: CKA of every layer of one model with every layer of another, or of itself."""
    other = first if second is None else second
    return np.array([[cka(a, b, unbiased=unbiased) for b in other.values()] for a in first.values()])


def _centred(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return x.astype(np.float64) - x.mean(0, dtype=np.float64)


def _hsic_unbiased(k: NDArray[np.float64], l: NDArray[np.float64]) -> float:
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    cross = (
        float((k * l).sum()) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ l.sum(0)) / (n - 2)
    )
    return cross / (n * (n - 3))


def _flat(
    scaled: NDArray[np.float64], drawing: str, seed: int
) -> tuple[NDArray[np.float64], tuple[float, float] | None]:
    if drawing == "umap":
        try:
            import umap
        except ImportError:
            raise NotSupported(
                "UMAP is not installed.", hint="pip install umap-learn, or draw with pca."
            ) from None
        return np.asarray(umap.UMAP(random_state=seed).fit_transform(scaled), np.float64), None
    if drawing != "pca":
        raise BadInput(f"There is no drawing {drawing!r}.", hint="Known: pca, umap.")
    left, sizes, _ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    flat = np.zeros((len(scaled), 2))
    kept = min(2, len(sizes))
    flat[:, :kept] = left[:, :kept] * sizes[:kept]
    whole = max(float((sizes**2).sum()), 1e-30)
    shares = [float(size**2 / whole) for size in sizes[:2]] + [0.0, 0.0]
    return flat, (shares[0], shares[1])
