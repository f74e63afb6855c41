"""Gaussian processes as a model of the search space: what they learn, and how sure they are."""

from __future__ import annotations

import time

import numpy as np
import pytest

from kdnas.study.samplers._candidates import CandidateSpace
from kdnas.study.samplers._predictor import Evidence
from kdnas.study.samplers._processes import GaussianProcesses, features
from studies import LARGE, two_functions


def evidence(
    codes: np.ndarray,
    targets: np.ndarray,
    pool: np.ndarray,
    levels: list[np.ndarray],
    weights: np.ndarray | None = None,
    seed: int = 0,
    pending: np.ndarray | None = None,
) -> Evidence:
    """Some trials of a space, whose choices are no sizes."""
    nothing = codes[:0] if pending is None else pending
    counted = np.ones(len(codes)) if weights is None else weights
    return Evidence(levels, levels, codes[:2], codes, targets, counted, nothing, pool, seed)


def on_sample(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and predictions of what is left of two functions' 1,500 points."""
    space, codes, truth, seen = two_functions(count)
    targets = truth[seen]
    targets[::4, 1] = np.nan  # as of trials that were never trained
    unseen = np.delete(np.arange(len(codes)), seen)
    known = evidence(codes[seen], targets, codes[unseen], space.log_levels, seed=seed)
    return truth[unseen], GaussianProcesses().predict(known)


def test_they_rank_architectures_they_have_not_seen() -> None:
    truth, predicted = on_sample(60)
    assert predicted.shape == (16, 1440, 2)
    for output in range(2):
        mean = predicted[:, :, output].mean(axis=0)
        assert np.corrcoef(truth[:, output], mean)[0, 1] > 0.85


def test_the_same_seed_gives_the_same_members_and_another_the_same_means() -> None:
    _, first = on_sample(20)
    assert first.tolist() == on_sample(20)[1].tolist()
    other = on_sample(20, seed=1)[1]
    assert first.tolist() != other.tolist()
    assert other.mean(axis=0) == pytest.approx(first.mean(axis=0))


def test_they_are_surer_where_trials_are() -> None:
    codes = np.arange(10)[:, None]
    seen = codes[:4]
    known = evidence(seen, np.sin(seen.astype(float)), codes, [np.linspace(-1, 1, 10)])
    spread = GaussianProcesses().predict(known)[:, :, 0].std(axis=0)
    assert spread[:4].max() < spread[7:].min()


def test_what_others_try_now_promises_nothing_new() -> None:
    codes = np.arange(10)[:, None]
    levels, targets = [np.linspace(-1, 1, 10)], np.sin(codes[:4].astype(float))
    alone = GaussianProcesses().predict(evidence(codes[:4], targets, codes, levels))
    known = evidence(codes[:4], targets, codes, levels, pending=codes[8:9])
    beside = GaussianProcesses().predict(known)
    assert beside.mean(axis=0) == pytest.approx(alone.mean(axis=0), abs=0.02)
    spread = beside.std(axis=0)[:, 0] / alone.std(axis=0)[:, 0]
    assert spread[8] < 0.5 and spread[7] < 0.8 and spread[9] < 0.8
    assert spread[:4] == pytest.approx(np.ones(4), abs=0.1)


def test_what_was_never_observed_may_be_anything() -> None:
    codes = np.zeros((2, 1), dtype=np.int64)
    known = evidence(codes, np.full((2, 1), np.nan), codes[:1], [np.array([-1.0, 1.0])])
    members = GaussianProcesses().predict(known)[:, 0, 0]
    assert members.mean() == pytest.approx(0)
    assert members.std() == pytest.approx(1)


def test_weights_decide_between_trials_that_contradict_each_other() -> None:
    codes, targets = np.zeros((2, 1), dtype=np.int64), np.array([[1.0], [-1.0]])
    levels = [np.array([-1.0, 1.0])]
    known = evidence(codes, targets, codes[:1], levels, np.array([1.0, 0.25]))
    assert GaussianProcesses().predict(known).mean() > 0.05
    known = evidence(codes, targets, codes[:1], levels, np.array([1.0, 0.0]))
    assert GaussianProcesses().predict(known).mean() > 0.5


def test_sizes_lie_by_their_ratios_and_choices_without_an_order_apart() -> None:
    space = CandidateSpace({name: LARGE[name] for name in ("hidden", "act", "layers")})
    assert space.names == ["act", "hidden", "layers"]
    places = features(space.log_levels, np.array([[0, 0, 0], [1, 4, 5]]))
    # gelu, relu, then 128 to 384, then 2 to 8.
    assert places == pytest.approx(np.array([[1.5, 0, -1.5, -1.5], [0, 1.5, 1.5, 1.5]]))
    half = features(space.log_levels, np.array([[0, 0, 2]]))
    assert half[0, 3] == pytest.approx(0)  # 4 is halfway from 2 to 8
    assert space.levels[2][2] == pytest.approx(-1 / 3)
    assert features([np.zeros(1)], np.zeros((3, 1), np.int64)).shape == (3, 1)


def test_a_long_study_costs_no_more_than_a_part_of_its_trials() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 64, (5_000, 1))
    levels = [np.linspace(-1, 1, 64)]
    targets = levels[0][codes] + 0.1 * rng.normal(size=codes.shape)
    start = time.process_time()
    found = GaussianProcesses().predict(evidence(codes, targets, np.arange(64)[:, None], levels))
    assert time.process_time() - start < 30  # 5,000 at once take minutes
    assert np.corrcoef(found[:, :, 0].mean(axis=0), levels[0])[0, 1] > 0.95
