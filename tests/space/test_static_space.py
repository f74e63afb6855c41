"""Spaces that have students without layers, too."""

from __future__ import annotations

from typing import Any

import pytest

from kdnas.space import Architecture, Candidate, SearchSpace

TEACHER = Architecture(2, 4, 32, 64, "gelu")
CHOICES: dict[str, tuple[int | str, ...]] = {
    "num_hidden_layers": (1, 2),
    "num_attention_heads": (2, 4),
    "hidden_size": (32, 16),
    "intermediate_size": (16, 64),
    "hidden_act": ("relu",),
}
SPACE = SearchSpace(TEACHER, CHOICES, vocabularies=("teacher", "task")).with_recipes(
    ("default", "logits"), ("static",)
)


def test_each_candidate_has_one_spelling() -> None:
    static = [c for c in SPACE.candidates if c.architecture.is_static]
    assert {c.architecture.label for c in static} == {"0x16", "0x32"} and len(static) == 4
    assert len(SPACE.candidates) == 4 + 16 * 2 * 2 == len(set(SPACE.candidates))
    for candidate in SPACE.candidates:
        params = SPACE.params(candidate)
        assert SPACE.candidate(params) == candidate and SPACE.is_valid(params)
        assert SPACE.nearest(params) == params
        assert all(params[name] in d.choices for name, d in SPACE.distributions.items())


@pytest.mark.parametrize(
    ("changes", "recipe"),
    [
        ({"num_hidden_layers": 0, "num_attention_heads": 4, "recipe": "default"}, "static"),
        ({"num_hidden_layers": 1, "recipe": "static"}, "default"),
        ({"num_hidden_layers": 1, "recipe": "logits"}, "logits"),
    ],
)
def test_what_samplers_draw_becomes_valid(changes: dict[str, Any], recipe: str) -> None:
    drawn = {**SPACE.params(SPACE.candidates[-1]), **changes}
    near = SPACE.nearest(drawn)
    assert SPACE.is_valid(near) and SPACE.candidate(near).recipe == recipe
    if drawn["num_hidden_layers"] == 0:
        assert not SPACE.is_valid(drawn), "another spelling of the same student"


def test_a_shape_without_layers_has_no_heads_or_neurons() -> None:
    assert Architecture(0, 4, 16, 64, "gelu") == Architecture(0, 1, 16, 1, "gelu")
    assert Candidate(Architecture(0, 4, 16, 64, "gelu")).key == Candidate(SPACE.statics[0]).key
