"""The controller sampler: its parts against golden values, the whole in real studies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.errors import KdnasError
from kdnas.search.samplers import _candidates
from kdnas.search.samplers._candidates import CandidateSpace, list_choices
from kdnas.search.samplers._controller import (
    Observation,
    make_contexts,
    standardise,
    train_controller,
)
from kdnas.search.samplers.lstm import EpsilonSchedule, LSTMControllerSampler, scalarise

Space = dict[str, BaseDistribution]

SMALL: Space = {
    "layers": CategoricalDistribution([2, 3, 4, 6]),
    "hidden": CategoricalDistribution([128, 256, 312]),
    "heads": IntDistribution(2, 8, step=2),
}
LARGE: Space = {
    "layers": CategoricalDistribution([2, 3, 4, 5, 6, 8]),
    "heads": CategoricalDistribution([2, 4, 6, 8, 12]),
    "hidden": CategoricalDistribution([128, 192, 256, 312, 384]),
    "intermediate": CategoricalDistribution([256, 512, 768, 1024, 1536]),
    "act": CategoricalDistribution(["gelu", "relu"]),
}


class SpacedSampler(LSTMControllerSampler):
    """Knows the whole space from the first trial on, as kdnas does."""

    def __init__(self, space: Space, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        return self.space


@pytest.fixture(autouse=True)
def one_quiet_thread() -> Iterator[None]:
    threads, verbosity = torch.get_num_threads(), optuna.logging.get_verbosity()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(verbosity)


def grow(params: dict[str, Any]) -> float:
    """An objective that rises with every parameter of the small space."""
    return params["layers"] / 6 + params["hidden"] / 312 + params["heads"] / 8


def run(
    study: Study, n_trials: int, space: Space, objective: Callable[..., Any] = grow
) -> list[dict[str, Any]]:
    for _ in range(n_trials):
        trial = study.ask(space)
        study.tell(trial, objective(trial.params))
    return [trial.params for trial in study.trials]


def kinds(study: Study) -> str:
    return "".join(trial.system_attrs["lstm:proposal"][0] for trial in study.trials)


@pytest.mark.parametrize(
    ("n_trials", "size", "epsilons"),
    [
        (1, 1, [1.0, 0.1]),
        (2, 1, [1.0, 0.1]),
        (3, 1, [1.0, 0.55, 0.1, 0.1]),
        (15, 5, [1.0, 0.55, 0.1, 0.1]),
        (100, 10, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1]),
    ],
)
def test_epsilon_falls_from_one_to_the_floor(
    n_trials: int, size: int, epsilons: list[float]
) -> None:
    schedule = EpsilonSchedule(n_trials, episode_size=10, floor=0.1)
    assert schedule.size == size
    assert [schedule.epsilon(episode * size) for episode in range(len(epsilons))] == epsilons
    assert schedule.epsilon(size - 1) == 1.0


@pytest.mark.parametrize(
    ("n_trials", "expected"),
    [
        (1, "r"),
        (2, "rc"),
        (3, "rrc"),
        (15, "rrrrr" + "rrrcc" + "rcccc"),
        (100, "".join("r" * n + "c" * (10 - n) for n in range(10, 0, -1))),
    ],
)
def test_random_trials_come_first_in_an_episode(n_trials: int, expected: str) -> None:
    schedule = EpsilonSchedule(n_trials, episode_size=10, floor=0.1)
    found = "".join("r" if schedule.is_random(number) else "c" for number in range(n_trials))
    assert found == expected


def test_shares_do_not_drift() -> None:
    assert int(0.29 * 100) == 28  # what the fractions are for
    long = EpsilonSchedule(n_trials=300, episode_size=100, floor=0.29)
    assert sum(long.is_random(number) for number in range(200, 300)) == 29
    # 0.3 of 5 is one and a half, rounded up; the float 0.3 lies below three tenths.
    short = EpsilonSchedule(n_trials=15, episode_size=10, floor=0.3)
    assert sum(short.is_random(number) for number in range(10, 15)) == 2


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (CategoricalDistribution(["gelu", None, 3]), ["gelu", None, 3]),
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


def test_a_space_without_a_valid_architecture_is_refused() -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL, is_valid=lambda params: False))
    with pytest.raises(KdnasError, match="no valid architecture among the 48 points"):
        study.ask(SMALL)


def test_contexts_hold_what_was_known_before_each_trial() -> None:
    rewards = [0.1, 0.5, 0.3, 0.2, 0.9]
    numbers = [0, 1, 2, 4, 5]
    observations = [
        Observation(number, (number,), reward)
        for number, reward in zip(numbers, rewards, strict=True)
    ]
    contexts = make_contexts(observations, [*numbers, 6, 9], episode_size=2, blank=(99,))
    assert contexts[:, :, 0].tolist() == [
        [99, 99],
        [99, 0],
        [1, 1],
        [2, 1],
        [2, 1],
        [5, 5],
        [99, 5],  # the episode before has no trial
    ]


def test_standardised_rewards() -> None:
    scaled = standardise(np.array([0.70, 0.71, 0.72, 0.73]))
    assert scaled == pytest.approx([-1.3416, -0.4472, 0.4472, 1.3416], abs=1e-4)
    assert standardise(np.array([0.5, 0.5])).tolist() == [0.0, 0.0]
    # Quartiles 1 and 3: the outlier counts as 1 - 3 * 2.
    lifted = standardise(np.array([-1e9, 1.0, 2.0, 3.0, 4.0]))
    assert lifted == pytest.approx(standardise(np.array([-5.0, 1.0, 2.0, 3.0, 4.0])))


def test_one_objective_keeps_its_values() -> None:
    values, rng = np.array([[0.1], [0.4]]), np.random.default_rng(0)
    assert scalarise(values, [StudyDirection.MAXIMIZE], rng).tolist() == [0.1, 0.4]
    assert scalarise(values, [StudyDirection.MINIMIZE], rng).tolist() == [-0.1, -0.4]


def test_several_objectives_are_joined_by_augmented_chebyshev() -> None:
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    values = np.array([[10.0, 5.0], [30.0, 9.0], [20.0, 8.0]])
    rewards = scalarise(values, directions, np.random.default_rng(3))
    first, second = np.random.default_rng(3).dirichlet([1.0, 1.0])
    middle = [0.5 * first, 0.25 * second]
    assert rewards == pytest.approx(
        [-1.05 * second, -1.05 * first, -(max(middle) + 0.05 * sum(middle))]
    )
    other = scalarise(values, directions, np.random.default_rng(4))
    assert not np.allclose(rewards, other)


def train_on_sample(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Train on 60 of 1,500 points of an additive function; return truth and prediction."""
    rng = np.random.default_rng(5)
    space = CandidateSpace(LARGE)
    codes = space.candidates(rng, None)
    effects = [rng.normal(size=size) for size in space.sizes]
    truth = np.sum([effect[codes[:, i]] for i, effect in enumerate(effects)], axis=0)
    seen = rng.choice(len(codes), 60, replace=False)
    observations = [
        Observation(number, tuple(codes[row].tolist()), float(truth[row]))
        for number, row in enumerate(seen)
    ]
    contexts = make_contexts(observations, range(61), 10, space.blank)
    sequences = np.concatenate([contexts[:-1], codes[seen][:, None]], axis=1)
    controller = train_controller(
        space.sizes, sequences, truth[seen], seed=seed, learning_rate=2e-3, passes=10
    )
    unseen = np.delete(np.arange(len(codes)), seen)
    return truth[unseen], controller.predict(contexts[-1], codes[unseen])


def test_the_controller_ranks_architectures_it_has_not_seen() -> None:
    truth, predicted = train_on_sample()
    assert np.corrcoef(truth, predicted)[0, 1] > 0.9


def test_predictions_agree_with_the_forward_pass() -> None:
    rng = np.random.default_rng(0)
    sequences = rng.integers(0, 3, size=(12, 3, 2))
    controller = train_controller(
        [3, 3], sequences, rng.normal(size=12), seed=1, learning_rate=1e-2, passes=3
    )
    context = sequences[0, :2]
    together = np.concatenate([np.repeat(context[None], 12, axis=0), sequences[:, 2:]], axis=1)
    with torch.no_grad():
        expected = controller(torch.from_numpy(together)).numpy()
    assert controller.predict(context, sequences[:, 2]) == pytest.approx(expected, abs=1e-6)


def test_training_neither_reads_nor_changes_the_global_random_state() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    _, first = train_on_sample()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    with torch.inference_mode():
        _, second = train_on_sample()
    assert first.tolist() == second.tolist()
    assert first.tolist() != train_on_sample(seed=1)[1].tolist()


def test_same_seed_same_study() -> None:
    def params(seed: int) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=SpacedSampler(SMALL, seed, n_trials=12))
        return run(study, 12, SMALL)

    assert params(7) == params(7)
    assert params(7) != params(8)


def test_reseeding_between_trials_changes_nothing() -> None:
    expected = run(optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=9)), 9, SMALL)
    study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=9))
    for _ in range(9):
        study.sampler.reseed_rng()
        params = run(study, 1, SMALL)
    assert params == expected


def test_no_seed_draws_one() -> None:
    first, second = LSTMControllerSampler(), LSTMControllerSampler()
    distribution = FloatDistribution(0, 1)
    study = optuna.create_study()
    study.ask()
    trial = study.trials[0]
    values = [s.sample_independent(study, trial, "x", distribution) for s in (first, second, first)]
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize(
    ("directions", "in_file"), [(["maximize"], True), (["maximize", "minimize"], False)]
)
def test_a_resumed_study_continues_as_if_never_stopped(
    tmp_path: Path, directions: list[str], in_file: bool
) -> None:
    def objective(params: dict[str, Any]) -> list[float]:
        return [grow(params), params["layers"] * params["hidden"]][: len(directions)]

    def open_study(storage: str | BaseStorage) -> Study:
        return optuna.create_study(
            storage=storage,
            study_name="study",
            directions=directions,
            load_if_exists=True,
            sampler=SpacedSampler(SMALL, seed=3, n_trials=12),
        )

    whole = open_study(InMemoryStorage())
    run(whole, 12, SMALL, objective)

    storage = f"sqlite:///{tmp_path / 'study.db'}" if in_file else InMemoryStorage()
    run(open_study(storage), 6, SMALL, objective)
    torch.manual_seed(123)
    np.random.seed(123)
    halves = open_study(storage)
    run(halves, 6, SMALL, objective)
    assert [t.params for t in halves.trials] == [t.params for t in whole.trials]
    assert kinds(halves) == kinds(whole) == "rrrr" + "rrcc" + "cccc"


def test_no_architecture_is_tried_twice_and_an_exhausted_space_repeats_the_best() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=SpacedSampler(SMALL, n_trials=48, learning_rate=5e-3)
    )
    params = run(study, 48, SMALL)
    assert len({tuple(sorted(p.items())) for p in params}) == 48
    again = run(study, 2, SMALL)[48:]
    assert kinds(study)[48:] == "cc"
    assert all(grow(p) > np.quantile([grow(q) for q in params], 0.8) for p in again)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_controller_follows_the_direction(direction: str) -> None:
    study = optuna.create_study(
        direction=direction, sampler=SpacedSampler(SMALL, n_trials=24, epsilon_floor=0.0)
    )
    run(study, 24, SMALL)
    values = {kind: [] for kind in ("random", "controller")}
    for trial in study.trials:
        values[trial.system_attrs["lstm:proposal"]].append(trial.value)
    difference = np.mean(values["controller"]) - np.mean(values["random"])
    assert difference > 0.3 if direction == "maximize" else difference < -0.3


def test_proposals_are_marked() -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=15))
    run(study, 15, SMALL)
    assert kinds(study) == "rrrrr" + "rrrcc" + "rcccc"
    epsilons = [trial.system_attrs["lstm:epsilon"] for trial in study.trials]
    assert epsilons == [1.0] * 5 + [0.55] * 5 + [0.1] * 5


def test_only_valid_architectures_are_proposed() -> None:
    def is_valid(params: dict[str, Any]) -> bool:
        return bool(params["hidden"] % params["heads"] == 0 and params["layers"] > 2)

    study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=20, is_valid=is_valid))
    params = run(study, 20, SMALL)
    assert all(is_valid(p) for p in params)
    assert len({tuple(sorted(p.items())) for p in params}) == 20


def test_trials_of_other_workers_are_left_to_them() -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=15))
    run(study, 12, SMALL)
    # None is told: each is seen by what it is about, though only some name their parameters.
    running = [study.ask() for _ in range(6)]
    proposals = [trial.relative_params for trial in running[:3]]
    proposals += [study.ask(SMALL).params for _ in range(3)]
    done = [trial.params for trial in study.trials[:12]]
    assert len({tuple(sorted(p.items())) for p in proposals + done}) == 18


def test_workers_that_start_at_one_moment_choose_differently() -> None:
    def study_after_twelve() -> Study:
        study = optuna.create_study(
            sampler=SpacedSampler(SMALL, n_trials=12, episode_size=3, epsilon_floor=0.0)
        )
        run(study, 12, SMALL)
        return study

    alone = study_after_twelve().ask().relative_params
    study = study_after_twelve()
    first, second = study.ask(), study.ask()
    assert second.relative_params != alone
    assert first.relative_params == alone


def test_enqueued_architectures_are_not_proposed() -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL))
    running = study.ask()
    waiting = [
        {"layers": layers, "hidden": hidden, "heads": heads}
        for layers, hidden, heads in itertools.product([2, 3, 4, 6], [128, 256, 312], [2, 4, 6, 8])
    ]
    for params in waiting[:-1]:
        study.enqueue_trial(params)
    assert running.relative_params == waiting[-1]


@pytest.mark.parametrize(
    ("state", "times", "returns"),
    [(TrialState.FAIL, 1, True), (TrialState.FAIL, 2, False), (TrialState.PRUNED, 1, False)],
)
def test_what_comes_back_after_it_ended_early(state: TrialState, times: int, returns: bool) -> None:
    space: Space = {"x": IntDistribution(0, 5)}
    study = optuna.create_study(sampler=SpacedSampler(space))
    for _ in range(times):
        study.add_trial(create_trial(state=state, params={"x": 3}, distributions=space))
    proposed = [params["x"] for params in run(study, 6, space, lambda p: p["x"])[times:]]
    assert sorted(set(proposed[:5])) == sorted(proposed[:5])
    assert (3 in proposed and len(set(proposed)) == 6) is returns


def test_broken_values_are_ignored() -> None:
    def objective(params: dict[str, Any]) -> float:
        return float("inf") if params["layers"] == 2 else grow(params)

    study = optuna.create_study(
        direction="maximize", sampler=SpacedSampler(SMALL, n_trials=24, epsilon_floor=0.0)
    )
    run(study, 24, SMALL, objective)
    chosen = [t.params for t in study.trials if t.system_attrs["lstm:proposal"] == "controller"]
    assert np.mean([grow(p) for p in chosen if p["layers"] > 2]) > 2.0
    broken = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=6))
    run(broken, 6, SMALL, lambda params: float("inf"))
    assert kinds(broken) == "rrrrrr"


def test_two_objectives_reach_both_ends_of_the_front() -> None:
    def objective(params: dict[str, Any]) -> tuple[float, float]:
        return grow(params), params["layers"] * params["hidden"]

    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=SpacedSampler(SMALL, n_trials=30, episode_size=3),
    )
    run(study, 30, SMALL, objective)
    sizes = [trial.values[1] for trial in study.best_trials]
    assert min(sizes) == 2 * 128
    assert max(sizes) == 6 * 312


def test_any_study_can_use_it() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -2.0, 2.0)
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        bias = trial.suggest_categorical("bias", [True, False])
        return x**2 + (np.log10(rate) + 2) ** 2 + bias

    sampler = LSTMControllerSampler(0, n_trials=40)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=30)
    study.optimize(objective, n_trials=10, n_jobs=2)
    assert len({tuple(t.params.values()) for t in study.trials[:30]}) == 30
    assert study.best_value < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": 0}, "n_trials must be at least 1, got 0"),
        ({"episode_size": 0}, "episode_size must be at least 1, got 0"),
        ({"passes": 0}, "passes must be at least 1, got 0"),
        ({"epsilon_floor": 1.5}, "epsilon_floor must lie between 0 and 1, got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        LSTMControllerSampler(**options)


def test_it_finds_better_architectures_than_random_search() -> None:
    def best_value(sampler: optuna.samplers.BaseSampler, seed: int) -> float:
        rng = np.random.default_rng((11, seed))
        effects = {
            name: dict(zip(list_choices(d), rng.normal(size=len(list_choices(d))), strict=True))
            for name, d in LARGE.items()
        }
        worst_to_best = sum(np.ptp(list(effect.values())) for effect in effects.values())
        best = sum(max(effect.values()) for effect in effects.values())
        study = optuna.create_study(direction="maximize", sampler=sampler)
        run(study, 60, LARGE, lambda p: sum(effects[name][p[name]] for name in LARGE))
        return float(1 - (best - study.best_value) / worst_to_best)

    # A third of the usual passes: enough here, and the test is quicker.
    ours = [
        best_value(SpacedSampler(LARGE, seed, n_trials=60, passes=3), seed) for seed in range(5)
    ]
    random = [best_value(RandomSampler(seed), seed) for seed in range(5)]
    assert np.median(ours) > np.median(random)
    assert np.median(ours) > 0.98
