"""Names of places: parsing, TransformerLens's names, globs and ranges, and what is said of a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import KINDS as MODEL_KINDS
from tiny_models import spec_of

from llm_workings.core.errors import BadInput, LabError, UnknownName
from llm_workings.models.sites import KINDS, Site, select, site, sites_of, stream_of

GPT2 = spec_of("gpt2")
EVERY_SITE = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.builds(Site, st.just(kind), st.integers(0, 999) if KINDS[kind].layered else st.none())
)


def names(*asked: str, kind: str = "gpt2") -> list[str]:
    return [str(s) for s in select(spec_of(kind), asked)]


@given(EVERY_SITE)
def test_a_site_is_parsed_back_from_both_its_names(place: Site) -> None:
    assert Site.parse(str(place)) == place
    assert Site.parse(place.lens_name) == place
    assert site(place.kind, place.layer) == place


@given(st.text(max_size=30))
def test_any_text_is_a_site_or_a_clear_error(text: str) -> None:
    try:
        place = Site.parse(text)
    except LabError as error:
        said = error.message
    else:
        assert (place.layer is not None) == KINDS[place.kind].layered
        said = repr(text)
    assert repr(text) in said


@pytest.mark.parametrize(
    ("lens", "ours"),
    [
        ("hook_embed", "embed"),
        ("blocks.0.hook_resid_pre", "resid_pre.0"),
        ("blocks.11.attn.hook_pattern", "pattern.11"),
        ("blocks.11.attn.hook_attn", "pattern.11"),  # as older versions called it
        ("blocks.3.attn.hook_rot_q", "rot_q.3"),
        ("blocks.3.ln2.hook_scale", "ln2_scale.3"),
        ("blocks.3.mlp.hook_pre_linear", "mlp_pre_linear.3"),
        ("ln_final.hook_normalized", "ln_final"),
    ],
)
def test_names_of_transformer_lens_are_aliases(lens: str, ours: str) -> None:
    assert str(Site.parse(lens)) == ours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patern.3", "Did you mean 'pattern.3'"),
        ("patern", "Did you mean 'pattern'"),
        ("blocks.3.hook_resid_prefix", "Did you mean 'blocks.3.hook_resid_pre'"),
        ("blocks.12.attn.hook_patern", "Did you mean 'blocks.12.attn.hook_pattern'"),
        ("RESID_POST.1", "Did you mean 'resid_post.1'"),
        ("", "Known: embed"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(text: str, said: str) -> None:
    with pytest.raises(UnknownName) as caught:
        Site.parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["pattern", "pattern.", "pattern.x", "pattern.-1", "pattern.1.5"])
def test_a_layered_site_needs_its_layer(text: str) -> None:
    with pytest.raises(BadInput, match=r"needs a layer.*'pattern\.0'"):
        Site.parse(text)


def test_an_unlayered_site_has_none() -> None:
    with pytest.raises(BadInput, match=r"'logits\.3' has no layers.*'logits'"):
        Site.parse("logits.3")


def test_sites_are_chosen_by_name_range_and_glob() -> None:
    assert names("pattern.1", "embed") == ["embed", "pattern.1"]  # in the order of a forward
    assert names("pattern.*") == names("pattern.0-2") == names("pattern.[:]") == names("*.hook_pattern")
    assert names("z.1-2") == names("z.[1:]") == names("z.[-2:]") == ["z.1", "z.2"]
    assert names("z.[0:-1]") == names("z.[:2]") == ["z.0", "z.1"]
    assert names("resid_post.-1") == ["resid_post.2"]
    assert names("resid_post.-3") == ["resid_post.0"]
    assert names("blocks.*.hook_resid_pre") == ["resid_pre.0", "resid_pre.1", "resid_pre.2"]
    assert names("resid_p*.0") == ["resid_pre.0", "resid_post.0"]
    assert names("mlp_?re.1") == ["mlp_pre.1"]
    assert names("z.0", "z.*", "z.0") == ["z.0", "z.1", "z.2"]
    assert names() == []
    assert select(GPT2, "z.1") == select(GPT2, site("z", 1)) == (site("z", 1),)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_star_is_every_site(kind: str) -> None:
    spec = spec_of(kind)
    assert select(spec, "*") == sites_of(spec)
    assert len(set(sites_of(spec))) == len(sites_of(spec))
    assert set(stream_of(spec)) <= set(sites_of(spec))


@pytest.mark.parametrize("name", ["pattern.3", "pattern.1-3", "pattern.-4", "blocks.3.attn.hook_pattern"])
def test_a_layer_that_is_not_there_says_which_are(name: str) -> None:
    with pytest.raises(BadInput, match=r"layers 0 to 2.*'pattern\.2'") as caught:
        select(GPT2, name)
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("gpt2", "rot_q.0", "'rot_q.0'"),  # learned positions turn nothing
        ("neox", "resid_mid.0", "resid_pre.0"),  # parallel blocks have no middle
        ("attention_only", "mlp_out.1", "attn_out.1"),
        ("encoder", "logits", "'logits'"),
        ("gpt2", "mlp_hidden.*", "mlp"),
    ],
)
def test_a_site_that_this_model_has_not_is_an_error(kind: str, name: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        select(spec_of(kind), name)
    assert repr(name) in caught.value.message
    assert said in str(caught.value)


def test_every_kind_says_what_stands_there() -> None:
    for kind in KINDS.values():
        assert kind.about
        assert not kind.about.endswith(".")
        assert kind.axes.split()[0] == "batch"
