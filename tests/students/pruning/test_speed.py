"""Levels by dynamic programming, and tables of latencies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kdnas.errors import KdnasError
from kdnas.files.artifact import key_of
from kdnas.measure import LatencySettings
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.students.pruning import speed
from kdnas.students.pruning.levels import choose_levels
from kdnas.students.pruning.order import Damage
from kdnas.students.pruning.speed import (
    LatencyTable,
    counts_at_speedup,
    fewest_counts,
    latency_table,
    measure_table,
    neuron_levels,
)
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher

TIMED = LatencySettings(batch=1, length=8, repeats=2, quiet=False)
TEACHER = Architecture(2, 2, 32, 16, "gelu")
FEWEST = PrunedArchitecture.of(TEACHER, [1, 0], [0, 0])
TABLE = LatencyTable(11.0, 1.0, {0: 0.0, 1: 1.0, 2: 2.0}, {0: 0.0, 8: 2.0, 16: 3.0}, 2)


def brute(damages: list, costs: list, budget: float, some_of: tuple[int, ...] = ()) -> float:
    """The least damage of all choices, in which one of some blocks is above its lowest level."""
    every = itertools.product(*(range(len(each)) for each in damages))
    sums = ((sum(c[i] for c, i in zip(costs, way, strict=True)), way) for way in every)
    fitting = [way for cost, way in sums if cost <= budget + 1e-9]
    fitting = [way for way in fitting if not some_of or any(way[i] for i in some_of)]
    return min(
        (sum(d[i] for d, i in zip(damages, way, strict=True)) for way in fitting), default=np.inf
    )


@pytest.mark.parametrize("some_of", [(), (0, 2)])
@pytest.mark.parametrize("seed", range(20))
def test_levels_are_the_best_of_all(seed: int, some_of: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 5, 5)
    damages = [np.sort(rng.random(n))[::-1] for n in sizes]
    costs = [np.sort(rng.integers(0, 12, n)).astype(float) for n in sizes]
    for budget in (5, 17, 40):
        levels = choose_levels(damages, costs, budget, steps=budget * 7, some_of=some_of)
        best = brute(damages, costs, budget, some_of)
        if levels is None:
            assert best == np.inf
            continue
        assert sum(c[i] for c, i in zip(costs, levels, strict=True)) <= budget
        found = sum(d[i] for d, i in zip(damages, levels, strict=True))
        assert found == pytest.approx(best)


@pytest.mark.parametrize("seed", range(10))
def test_any_times_keep_the_budget_and_come_near_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    damages = [np.sort(rng.random(4))[::-1] for _ in range(4)]
    costs = [np.sort(rng.random(4)) for _ in range(4)]
    levels = choose_levels(damages, costs, 1.7)
    if levels is None:
        assert brute(damages, costs, 1.7) == np.inf
        return
    assert sum(c[i] for c, i in zip(costs, levels, strict=True)) <= 1.7 + 1e-9
    found = sum(d[i] for d, i in zip(damages, levels, strict=True))
    # A budget less by a part for each block is never better than what was found.
    assert found <= brute(damages, costs, 1.7 - 4 * 1.7 / 10_000) + 1e-9


def test_no_time_takes_only_what_costs_none() -> None:
    damages, costs = [np.array([1.0, 0.5, 0.0])], [np.array([0.0, 0.0, 1.0])]
    assert choose_levels(damages, costs, 0.0) == [1]
    assert choose_levels(damages, costs, -1.0) is None
    assert choose_levels(damages, [np.array([2.0, 3.0, 4.0])], 1.0) is None
    assert choose_levels(damages, [np.array([0.0, 2.0, 4.0])], 1.0, some_of=[0]) is None


def test_counts_keep_the_speed_and_lose_the_least() -> None:
    """The whole takes 1 + 2 * (2 + 3) = 11, half of it 5.5: 4.5 are left."""
    damage = Damage(
        torch.tensor([[1.0, 0.3, 0.0], [1.0, 0.9, 0.0]]),
        torch.tensor([[0.4] + [0.1] * 15 + [0.0], [1.0] + [0.8] * 15 + [0.0]]),
    )
    half = counts_at_speedup(damage, TABLE, 2, TEACHER)
    assert TABLE.speedup(half) >= 2
    ways = itertools.product((0, 1, 2), (0, 1, 2), (0, 8, 16), (0, 8, 16))
    made = [PrunedArchitecture.of(TEACHER, way[:2], way[2:]) for way in ways]

    def lost(counts: PrunedArchitecture) -> float:
        parts = zip(
            (damage.heads, damage.neurons),
            (counts.num_attention_heads, counts.intermediate_size),
            strict=True,
        )
        return float(sum(part[i, n] for part, left in parts for i, n in enumerate(left)))

    best = min(lost(counts) for counts in made if TABLE.speedup(counts) >= 2)
    assert lost(half) == pytest.approx(best)
    assert counts_at_speedup(damage, TABLE, 1, TEACHER) == PrunedArchitecture.whole(TEACHER)
    fewest = counts_at_speedup(damage, TABLE, TABLE.speedup(FEWEST), TEACHER)
    assert fewest == FEWEST == fewest_counts(damage, TEACHER)


def test_one_head_stays_whatever_else_would_lose_less() -> None:
    """4 are left, which half of both layers' neurons take; a head is worth next to nothing."""
    damage = Damage(
        torch.tensor([[1e-9, 0.0, 0.0], [2e-9, 0.0, 0.0]]),
        torch.tensor([[1.0] + [0.3] * 15 + [0.0], [1.1] + [0.3] * 15 + [0.0]]),
    )
    found = counts_at_speedup(damage, TABLE, 11 / 5, TEACHER)
    assert found == PrunedArchitecture.of(TEACHER, [0, 1], [0, 16])


@pytest.mark.parametrize(("asked", "match"), [(0.5, "expected 1 or more"), (6.0, "5.5 times")])
def test_speeds_that_cannot_be_had_are_refused(asked: float, match: str) -> None:
    damage = Damage(torch.ones(2, 3), torch.ones(2, 17))
    with pytest.raises(KdnasError, match=match):
        counts_at_speedup(damage, TABLE, asked, TEACHER)


def test_neurons_that_are_timed() -> None:
    levels = neuron_levels(3072)
    assert levels[0] == 0 and levels[-1] == 3072 and len(levels) == len(set(levels)) < 30
    assert all(n % 8 == 0 for n in levels) and 2456 in levels
    assert neuron_levels(60)[-2:] == [48, 60]
    assert neuron_levels(4) == [0, 4]


@pytest.mark.parametrize("runtime", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_table_of_a_real_teacher_is_measured_once(
    runtime: str, make_teacher: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load_teacher(str(make_teacher()), load_spec("sst2")).model
    monkeypatch.setattr(speed, "neuron_levels", lambda size: [0, 8, size])
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    path = tmp_path / "latencies.json"
    table = latency_table(path, teacher, TIMED, runtime)
    assert set(table.heads_ms) == {0, 1, 2, 3, 4} and set(table.neurons_ms) == {0, 8, 64}
    for times in (table.heads_ms, table.neurons_ms):
        assert list(times.values()) == sorted(times.values())
    assert table.teacher_ms > 0 and table.base_ms > 0 and table.heads_ms[0] == 0
    assert all(torch.equal(value, before[n]) for n, value in teacher.state_dict().items())
    assert (key_of(path) or {})["runtime"].startswith(
        {"torch": "torch", "onnx": "onnxrun"}[runtime]
    )
    of_yesterday = {"batch": 1, "length": 8, "repeats": 2, "quiet": False, "precision": 0.0}
    assert (key_of(path) or {})["settings"] == of_yesterday, "or kept tables are measured again"
    monkeypatch.setattr(speed, "measure_table", None)  # would fail
    assert latency_table(path, teacher, TIMED, runtime) == table


@pytest.mark.usefixtures("times_by_size")
def test_fewer_neurons_are_faster(
    make_teacher: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "neuron_levels", lambda size: [0, 64, size])
    shape = {"hidden_size": 128, "intermediate_size": 2048, "num_attention_heads": 2}
    folder = make_teacher(num_hidden_layers=1, **shape)
    table = measure_table(load_teacher(str(folder), None).model, LatencySettings(4, 64, 5, False))
    assert table.neurons_ms[2048] > table.neurons_ms[64] >= 0 == table.heads_ms[0]
    assert table.base_ms < table.teacher_ms
