"""The finite set of architectures behind Optuna's distributions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from kdnas.study.samplers import _candidates
from kdnas.study.samplers._candidates import CandidateSpace, list_choices
from studies import SMALL


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (CategoricalDistribution(["gelu", None, 3]), ["gelu", None, 3]),
        (CategoricalDistribution([False, 0, 2, True, 1.0]), [False, 2, True]),
        (IntDistribution(2, 8, step=3), [2, 5, 8]),
        (IntDistribution(3, 3), [3]),
        (FloatDistribution(0.5, 0.5), [0.5]),
        (FloatDistribution(0.0, 1.0, step=0.25), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FloatDistribution(0.0, 15.0), [float(point) for point in range(16)]),
        (IntDistribution(0, 150), list(range(0, 151, 10))),
    ],
)
def test_choices_of_a_distribution(distribution: BaseDistribution, expected: list[Any]) -> None:
    choices = list_choices(distribution)
    assert choices == expected
    assert [type(choice) for choice in choices] == [type(choice) for choice in expected]


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-5, 1e-1, log=True),
        IntDistribution(1, 32_768, log=True),
        IntDistribution(1, 10**30, log=True),
        FloatDistribution(-10.2, 10.2, step=0.1),
        IntDistribution(0, 7 * 10**17, step=7),
    ],
)
def test_grids_of_wide_ranges(distribution: BaseDistribution) -> None:
    choices = list_choices(distribution)
    assert len(choices) == 16
    assert (choices[0], choices[-1]) == (distribution.low, distribution.high)  # type: ignore[attr-defined]
    assert all(distribution._contains(choice) for choice in choices)
    if getattr(distribution, "log", False):
        ratios = np.array(choices[1:]) / np.array(choices[:-1])
        assert ratios == pytest.approx(np.full(15, ratios[0]), rel=1e-3)


def test_codes_and_parameters() -> None:
    space = CandidateSpace({"b": FloatDistribution(1, 2**15, log=True), **SMALL})
    assert space.names == ["b", "heads", "hidden", "layers"]
    params = {"layers": 4, "hidden": 312, "heads": 2, "b": 8.0}
    assert space.encode(params) == (3, 0, 2, 2)
    assert space.decode((3, 0, 2, 2)) == pytest.approx(params)
    # Between 8 and 16 the middle is 11.3 in the logarithm.
    assert space.encode({**params, "b": 11.5}) == (4, 0, 2, 2)
    assert space.encode({**params, "layers": 5}) is None
    assert space.encode({**params, "heads": 10}) is None
    assert space.encode({"layers": 4}) is None


def test_a_small_space_is_enumerated() -> None:
    space = CandidateSpace(SMALL, lambda params: params["hidden"] != 256)
    codes = space.candidates(np.random.default_rng(0), None)
    found = {tuple(sorted(space.decode(tuple(row)).items())) for row in codes.tolist()}
    wanted = itertools.product([2, 4, 6, 8], [128, 312], [2, 3, 4, 6])
    assert found == {(("heads", a), ("hidden", b), ("layers", c)) for a, b, c in wanted}
    assert len(codes) == 32


def test_a_huge_space_gives_a_pool_and_the_neighbours_of_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_candidates, "POOL_SIZE", 500)
    space = CandidateSpace(
        {f"p{i}": IntDistribution(0, 19) for i in range(6)}, lambda params: params["p0"] != 7
    )
    best = (1, 2, 3, 4, 5, 6)
    rows = [tuple(row) for row in space.candidates(np.random.default_rng(0), best).tolist()]
    assert len(set(rows)) == len(rows) >= 500 + 6 * 19 - 1
    neighbours = {row for row in rows if sum(a != b for a, b in zip(row, best, strict=True)) == 1}
    assert len(neighbours) == 6 * 19 - 1
    assert all(row[0] != 7 for row in rows)


def test_levels_are_the_values_scaled() -> None:
    space = CandidateSpace(
        {
            "act": CategoricalDistribution(["gelu", "relu"]),
            "bias": CategoricalDistribution([True, False]),
            "hidden": CategoricalDistribution([100, 400, 200]),
            "one": CategoricalDistribution([7]),
            "rate": FloatDistribution(1e-4, 1.0, log=True),
        }
    )
    act, bias, hidden, one, rate = space.levels
    assert [act.tolist(), bias.tolist(), one.tolist()] == [[0.0, 0.0], [0.0, 0.0], [0.0]]
    assert hidden == pytest.approx([-1.0, 1.0, -1 / 3])
    assert rate == pytest.approx(np.linspace(-1, 1, 16))


def test_embeddings_that_are_not_factorised_are_the_widest() -> None:
    space = CandidateSpace({"embedding_size": CategoricalDistribution([0, 64, 128])})
    assert space.levels[0] == pytest.approx([1.0, -1.0, -1 / 3])
    assert space.log_levels[0] == pytest.approx([1.0, -1.0, 0.0])


def test_choices_that_optuna_takes_for_the_same_have_one_code() -> None:
    space = CandidateSpace({"x": CategoricalDistribution([0, False, "a", 1, True])})
    assert space.sizes == [3]
    assert [space.encode({"x": x}) for x in (0, False, "a", 1, True)] == [
        (0,),
        (0,),
        (1,),
        (2,),
        (2,),
    ]
    assert [space.decode((i,))["x"] for i in range(3)] == [0, "a", 1]
