"""A teacher with fewer of its layers, and how fast it is pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from kdnas.measure import LatencySettings
from kdnas.space import PrunedArchitecture
from kdnas.space.families import FAMILIES, family_of
from kdnas.students.build import build_student, empty_student
from kdnas.students.pruning import architecture_of, dense, shallower, shape_of, sliced
from kdnas.students.pruning.depth import layers_that_stay
from kdnas.students.pruning.scores import magnitude_scores
from kdnas.students.pruning.speed import LatencyTable, measure_table
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher

PRUNABLE = sorted(set(FAMILIES) - {"albert"})
TOKENS = torch.arange(5, 25).view(2, 10)


def test_the_lowest_layers_stay_and_of_the_others_every_second() -> None:
    bert, modern = FAMILIES["bert"], FAMILIES["modernbert"]
    assert layers_that_stay(4, 6, bert) == [1, 2, 4, 6]
    assert layers_that_stay(8, 12, bert) == [1, 2, 3, 4, 6, 8, 10, 12]
    assert layers_that_stay(5, 6, bert) == [1, 2, 3, 4, 6]
    assert layers_that_stay(3, 6, bert) == [2, 4, 6] and layers_that_stay(2, 6, bert) == [3, 6]
    assert layers_that_stay(1, 1, bert) == [1] and layers_that_stay(6, 6, bert) == [*range(1, 7)]
    assert modern.per_layer and layers_that_stay(4, 6, modern) == [1, 3, 4, 6]


@pytest.mark.parametrize("family", PRUNABLE)
@torch.no_grad()
def test_layers_evenly_spread_stay(family: str, make_teacher: Callable[..., Path]) -> None:
    """Of three layers the first and the last; all other weights are the teacher's."""
    model = load_teacher(str(make_teacher(family)), load_spec("sst2")).model
    small, names = shallower(model, 2), family_of(model.config.model_type, family)
    assert shape_of(small.config).num_hidden_layers == 2
    assert shape_of(model.config).num_hidden_layers == 3
    weights = model.state_dict()
    for name, value in small.state_dict().items():
        place, source = names.layer_of(name), name
        if place and place[1] == 1 and not name.endswith("relative_attention_bias.weight"):
            start = place[0].removesuffix("1")
            source = f"{start}2{name.removeprefix(place[0])}"
        assert torch.equal(value, weights[source]), name
    assert torch.isfinite(small(input_ids=TOKENS).logits).all()
    assert shallower(model, 3) is model


@torch.no_grad()
def test_what_is_left_of_fewer_layers_ships_as_a_plain_checkpoint(
    make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    whole, counts = shallower(model, 2), PrunedArchitecture((1, 2), 32, (8, 0), "gelu")
    small = sliced(whole, magnitude_scores(whole).kept(counts))
    assert architecture_of(small.config) == counts
    dense(small).save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert len(plain.base_model.encoder.layer) == 2
    torch.testing.assert_close(plain(TOKENS).logits, small(TOKENS).logits, atol=1e-5, rtol=0)
    again = AutoConfig.from_pretrained(tmp_path)
    assert architecture_of(again) == counts
    assert architecture_of(empty_student(model.config, counts).config) == counts
    built = build_student(model, counts)
    assert torch.equal(built(TOKENS).logits, small(TOKENS).logits)


def test_empty_layers_that_go_take_no_time() -> None:
    """Three layers whose norms take 2 ms each, 4 ms beside them."""
    table = LatencyTable(40.0, 10.0, {0: 0.0, 1: 6.0}, {0: 0.0, 8: 4.0}, 3, 2.0)
    one = PrunedArchitecture((1,), 32, (0,), "gelu")
    assert table.whole_ms == 40 and table.base_of(1) == 6
    assert table.predict(one) == 12 and table.speedup(one) == pytest.approx(40 / 12)


def test_a_table_times_an_empty_layer(make_teacher: Callable[..., Path]) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    table = measure_table(model, LatencySettings(batch=1, length=8, repeats=5, quiet=False))
    assert table.depth == 3 and 0 <= table.empty_ms < table.base_ms


@torch.no_grad()
def test_a_first_layer_without_its_norm_takes_the_gain_of_the_one_that_it_was(
    make_teacher: Callable[..., Path],
) -> None:
    """Of ModernBERT's three layers the last alone, which has a norm ahead of its attention."""
    model = load_teacher(str(make_teacher("modernbert")), load_spec("sst2")).model
    layers = model.base_model.layers
    layers[2].attn_norm.weight.uniform_(0.5, 2.0)
    small = shallower(model, 1)
    [only] = small.base_model.layers
    expected = layers[2].attn.Wqkv.weight * layers[2].attn_norm.weight
    torch.testing.assert_close(only.attn.Wqkv.weight, expected)
    torch.testing.assert_close(only.attn.Wo.weight, layers[2].attn.Wo.weight)
    assert torch.isfinite(small(input_ids=TOKENS).logits).all()
