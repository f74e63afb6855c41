"""Pruned shapes as trial parameters, YAML and keys."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import yaml

from kdnas.errors import KdnasError
from kdnas.space import Architecture, Candidate, PrunedArchitecture, architecture_from_params

TEACHER = Architecture(3, 4, 32, 64, "gelu")
PRUNED = PrunedArchitecture((3, 0, 1), 32, (64, 8, 0), "gelu")


def test_it_survives_trial_parameters_and_yaml() -> None:
    assert PRUNED.params == {
        "num_hidden_layers": 3,
        "num_attention_heads": "3,0,1",
        "hidden_size": 32,
        "intermediate_size": "64,8,0",
        "hidden_act": "gelu",
    }
    assert architecture_from_params(PRUNED.params) == PRUNED
    assert architecture_from_params(yaml.safe_load(yaml.safe_dump(PRUNED.params))) == PRUNED
    trial = optuna.trial.FixedTrial(PRUNED.params)
    asked = {k: trial.suggest_categorical(k, [v]) for k, v in PRUNED.params.items()}
    assert architecture_from_params(asked) == PRUNED
    lists = {**PRUNED.params, "num_attention_heads": [3, 0, 1], "intermediate_size": [64, 8, 0]}
    assert architecture_from_params(lists) == PRUNED


def test_what_is_left_of_the_layers() -> None:
    """Of a layer of 4 heads and 64 neurons, in rows of 32: a head has 32, a neuron 2."""
    assert PrunedArchitecture.whole(TEACHER).share_of(TEACHER) == 1
    assert PRUNED.share_of(TEACHER) == pytest.approx((4 * 32 + 72 * 2) / (3 * (4 * 32 + 64 * 2)))


def test_one_layer_is_no_number() -> None:
    one = PrunedArchitecture((12,), 32, (64,), "gelu")
    assert one.params["num_attention_heads"] == "12,"
    assert architecture_from_params(one.params) == one


def test_uniform_shapes_stay_what_they_were() -> None:
    assert architecture_from_params(TEACHER.params) == TEACHER
    assert Candidate(TEACHER).key == "e1a073e3cfc5ff2a"


def test_candidates_have_keys_of_their_own() -> None:
    candidate = Candidate(PRUNED, "quick")
    assert Candidate.from_params(candidate.params) == candidate
    other = Candidate(PrunedArchitecture((3, 1, 0), 32, (64, 8, 0), "gelu"), "quick")
    assert len({candidate.key, other.key, Candidate(TEACHER, "quick").key}) == 3
    assert candidate.label == "3x32 pruned h4 f72 gelu quick"


def test_what_it_fits() -> None:
    whole = PrunedArchitecture.whole(TEACHER)
    assert whole.fits(TEACHER) and PRUNED.fits(TEACHER) and not PRUNED.has_all_heads
    assert not PrunedArchitecture((5, 0, 1), 32, (64, 8, 0), "gelu").fits(TEACHER)
    assert not PrunedArchitecture((3, 0, 1), 32, (65, 8, 0), "gelu").fits(TEACHER)
    assert not PrunedArchitecture((3, 0), 32, (64, 8), "gelu").fits(TEACHER)
    assert not PrunedArchitecture((3, 0, 1), 16, (64, 8, 0), "gelu").fits(TEACHER)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_attention_heads": "3,0"}, "num_attention_heads has 2 layers, intermediate_size 3"),
        ({"num_attention_heads": "3,x,1"}, "invalid num_attention_heads: '3,x,1'"),
        ({"intermediate_size": 64}, "invalid intermediate_size: 64"),
        ({"num_attention_heads": "3,-1,1"}, "fewer than 0"),
    ],
)
def test_what_cannot_be_read_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(KdnasError, match=match):
        architecture_from_params({**PRUNED.params, **changes})
