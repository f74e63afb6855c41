"""The samplers that learn a model of the space, in real studies."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from kdnas.errors import KdnasError
from kdnas.study.attributes import RUNG, RUNG_VALUES
from kdnas.study.samplers import GaussianProcesses, LSTMs, SurrogateSampler
from kdnas.study.samplers._candidates import list_choices
from kdnas.study.samplers._predictor import Predictor
from studies import LARGE, SMALL, Space, SpacedSampler, grow, kinds, run, widen


def test_a_space_without_a_valid_architecture_is_refused() -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL, is_valid=lambda params: False))
    with pytest.raises(KdnasError, match="no valid architecture among the 48 points"):
        study.ask(SMALL)


@pytest.mark.slow
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
    first, second = SurrogateSampler(), SurrogateSampler()
    distribution = FloatDistribution(0, 1)
    study = optuna.create_study()
    study.ask()
    trial = study.trials[0]
    values = [s.sample_independent(study, trial, "x", distribution) for s in (first, second, first)]
    assert values[0] == values[2] != values[1]


@pytest.mark.slow
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
    assert kinds(halves) == kinds(whole) == "rrrr" + "c" * 8


@pytest.mark.slow
def test_no_architecture_is_tried_twice_and_an_exhausted_space_repeats_the_best() -> None:
    study = optuna.create_study(direction="maximize", sampler=SpacedSampler(SMALL, n_trials=48))
    params = run(study, 48, SMALL)
    assert len({tuple(sorted(p.items())) for p in params}) == 48
    again = run(study, 2, SMALL)[48:]
    assert kinds(study)[48:] == "cc"
    assert all(grow(p) > np.quantile([grow(q) for q in params], 0.8) for p in again)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("model", [GaussianProcesses(), LSTMs()], ids=["gp", "lstm"])
def test_it_follows_the_direction(model: Predictor, direction: str) -> None:
    sampler = SpacedSampler(LARGE, n_trials=24, predictor=model)
    study = optuna.create_study(direction=direction, sampler=sampler)
    run(study, 14, LARGE, widen)
    values = {kind: [] for kind in ("random", "controller")}
    for trial in study.trials:
        values[trial.system_attrs["lstm:proposal"]].append(trial.value)
    difference = np.mean(values["controller"]) - np.mean(values["random"])
    assert difference > 0.6 if direction == "maximize" else difference < -0.6


def test_proposals_are_marked() -> None:
    sampler = SpacedSampler(SMALL, n_trials=15, epsilon_floor=0.1, epsilon_fall=1.0)
    study = optuna.create_study(sampler=sampler)
    run(study, 12, SMALL)
    study.enqueue_trial({"layers": 2, "hidden": 128, "heads": 2}, skip_if_exists=False)
    run(study, 3, SMALL)
    assert kinds(study) == "rrrrr" + "rrrcc" + "cc-cc"
    epsilons = [trial.system_attrs.get("lstm:epsilon") for trial in study.trials]
    assert epsilons == [1.0] * 5 + [0.55] * 5 + [0.1, 0.1, None, 0.1, 0.1]


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


@pytest.mark.slow
def test_workers_that_start_at_one_moment_choose_differently() -> None:
    def study_after_twelve() -> Study:
        study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=12, episode_size=3))
        run(study, 12, SMALL)
        return study

    alone = study_after_twelve().ask().relative_params
    study = study_after_twelve()
    first, second = study.ask(), study.ask()
    assert second.relative_params != alone
    assert first.relative_params == alone


@pytest.mark.parametrize("plan", [12, 60], ids=["controller", "random"])
def test_what_another_worker_signed_meanwhile_is_left_to_it(
    plan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=plan, episode_size=20))
    run(study, 12, SMALL)
    storage, mark = study._storage, SpacedSampler._mark
    rival = storage.create_new_trial(study._study_id)
    signed = []

    def sign_at_one_moment(self: Any, study: Study, trial: Any, kind: str, choice: Any) -> None:
        if not signed:
            signed.append(choice)
            storage.set_trial_system_attr(rival, "lstm:choice", choice)
        mark(self, study, trial, kind, choice)

    monkeypatch.setattr(SpacedSampler, "_mark", sign_at_one_moment)
    params = study.ask(SMALL).params
    assert study.trials[-1].system_attrs["lstm:choice"] != signed[0]
    assert params not in [trial.params for trial in study.trials[:12]]


def test_many_threads_never_try_an_architecture_twice() -> None:
    def objective(trial: optuna.Trial) -> float:
        params = {name: trial._suggest(name, distribution) for name, distribution in SMALL.items()}
        return grow(params)

    study = optuna.create_study(
        sampler=SpacedSampler(SMALL, n_trials=40, predictor=LSTMs(steps=2, members=2))
    )
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 40


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


@pytest.mark.slow
def test_broken_values_are_ignored() -> None:
    def objective(params: dict[str, Any]) -> float:
        return float("inf") if params["layers"] == 2 else grow(params)

    study = optuna.create_study(direction="maximize", sampler=SpacedSampler(SMALL, n_trials=24))
    run(study, 24, SMALL, objective)
    chosen = [t.params for t in study.trials if t.system_attrs["lstm:proposal"] == "controller"]
    assert np.mean([grow(p) for p in chosen if p["layers"] > 2]) > 2.0
    broken = optuna.create_study(sampler=SpacedSampler(SMALL, n_trials=6))
    run(broken, 6, SMALL, lambda params: float("inf"))
    assert kinds(broken) == "rrrrrr"


@pytest.mark.slow
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


@pytest.mark.slow
def test_any_study_can_use_it() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -2.0, 2.0)
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        bias = trial.suggest_categorical("bias", [True, False])
        return x**2 + (np.log10(rate) + 2) ** 2 + bias

    sampler = SurrogateSampler(0, n_trials=40)
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
        ({"curiosity": -0.1}, "curiosity must be at least 0, got -0.1"),
        ({"epsilon_fall": 2.0}, "epsilon_fall must lie between 0 and 1, got 2.0"),
        ({"epsilon_floor": 1.5}, "epsilon_floor must lie between 0 and 1, got 1.5"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        SurrogateSampler(**options)


@pytest.mark.slow
@pytest.mark.parametrize("model", [GaussianProcesses(), LSTMs()], ids=["gp", "lstm"])
def test_it_finds_better_architectures_than_random_search(model: Predictor) -> None:
    def best_value(sampler: BaseSampler, seed: int) -> float:
        rng = np.random.default_rng((11, seed))
        effects = {
            name: dict(zip(list_choices(d), rng.normal(size=len(list_choices(d))), strict=True))
            for name, d in LARGE.items()
        }
        worst_to_best = sum(np.ptp(list(effect.values())) for effect in effects.values())
        best = sum(max(effect.values()) for effect in effects.values())
        study = optuna.create_study(direction="maximize", sampler=sampler)
        run(study, 30, LARGE, lambda p: sum(effects[name][p[name]] for name in LARGE))
        return float(1 - (best - study.best_value) / worst_to_best)

    ours = [
        best_value(SpacedSampler(LARGE, seed, n_trials=30, predictor=model), seed)
        for seed in range(3)
    ]
    random = [best_value(RandomSampler(seed), seed) for seed in range(3)]
    assert np.median(ours) > np.median(random)
    assert np.median(ours) > 0.95


@pytest.mark.slow
def test_it_stays_out_of_the_infeasible_region() -> None:
    def search(sampler: BaseSampler) -> tuple[int, float]:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(24):
            trial = study.ask(LARGE)
            size = trial.params["layers"] * trial.params["hidden"]
            trial.set_constraint("size", size / 900 - 1)
            if size > 900:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, trial.params["layers"] * trial.params["hidden"] ** 0.5)
        refused = len(study.get_trials(states=(TrialState.PRUNED,)))
        return refused, study.best_value

    ours = [search(SpacedSampler(LARGE, seed, n_trials=24)) for seed in range(3)]
    random = [search(RandomSampler(seed)) for seed in range(3)]
    assert np.mean([refused for refused, _ in ours]) < np.mean([refused for refused, _ in random])
    # The best that is allowed, 6 layers of 128.
    assert np.median([best for _, best in ours]) == pytest.approx(6 * 128**0.5)


@pytest.mark.slow
def test_it_finds_the_feasible_corner_before_anything_is_scored() -> None:
    def asks(sampler: BaseSampler) -> int:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for count in range(150):
            trial = study.ask(LARGE)
            sizes = [trial.params[name] for name in ("layers", "hidden", "intermediate")]
            trial.set_constraint("size", np.prod(sizes) / (2 * 192 * 256) - 1)
            if np.prod(sizes) <= 2 * 192 * 256:  # 1.3% of the space
                return count + 1
            study.tell(trial, state=TrialState.PRUNED)
        return 150

    ours = [asks(SpacedSampler(LARGE, seed, n_trials=20)) for seed in range(5)]
    random = [asks(RandomSampler(seed)) for seed in range(5)]
    assert np.median(ours) <= 10 < np.median(random)


@pytest.mark.parametrize("penalty", [np.finfo(float).max, 1e308])
def test_penalties_of_any_size_are_borne(penalty: float) -> None:
    def objective(params: dict[str, Any]) -> tuple[float, float]:
        sign = 1 if params["layers"] > 3 else -1
        return sign * penalty, -sign * penalty if params["heads"] > 4 else grow(params)

    sampler = SpacedSampler(SMALL, n_trials=9)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    run(study, 9, SMALL, objective)
    assert kinds(study) == "rrr" + "c" * 6


@pytest.mark.slow
def test_it_learns_from_trials_that_were_stopped_at_a_rung() -> None:
    study = optuna.create_study(direction="maximize", sampler=SpacedSampler(LARGE, n_trials=15))
    for _ in range(15):
        trial = study.ask(LARGE)
        # Far below any full training, in a unit of its own offset.
        trial.set_user_attr(RUNG_VALUES, [widen(trial.params) - 10])
        trial.set_user_attr(RUNG, 1 / 3)
        study.tell(trial, state=TrialState.PRUNED)
    found = [widen(trial.params) for trial in study.trials]
    assert kinds(study) == "r" * 5 + "c" * 10
    assert max(found) == 4.0
    assert np.mean(found[5:]) > np.mean(found[:5]) + 0.6


def test_what_was_stopped_at_a_rung_is_left_to_the_search() -> None:
    space: Space = {"x": IntDistribution(0, 5)}
    study = optuna.create_study(direction="maximize", sampler=SpacedSampler(space))
    attrs = {RUNG: 0.5, RUNG_VALUES: [9.0]}
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED, params={"x": 3}, distributions=space, user_attrs=attrs
        )
    )
    proposed = [params["x"] for params in run(study, 5, space, lambda p: p["x"])[1:]]
    assert sorted(proposed) == [0, 1, 2, 4, 5]
    # A promotion is enqueued, and tells the same architecture's full value.
    study.enqueue_trial({"x": 3})
    assert run(study, 1, space, lambda p: p["x"])[-1] == {"x": 3}
    assert study.trials[-1].state == TrialState.COMPLETE


def test_a_proposal_is_quick() -> None:
    study = optuna.create_study(direction="maximize", sampler=SpacedSampler(LARGE, n_trials=101))
    rng = np.random.default_rng(0)
    for _ in range(100):
        params = {name: rng.choice(list_choices(d)).item() for name, d in LARGE.items()}
        study.add_trial(
            create_trial(params=params, distributions=LARGE, value=float(params["hidden"]))
        )
    started = time.process_time()
    study.ask(LARGE)
    assert time.process_time() - started < 2.0  # 0.2 on an idle core; a margin for busy ones
