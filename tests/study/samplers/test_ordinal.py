"""What a sampler sees behind the view of ordered choices."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.study.attributes import RUNG, RUNG_VALUES
from kdnas.study.samplers.ordinal import OrdinalSampler

SPACE: dict[str, BaseDistribution] = {
    "act": CategoricalDistribution(["gelu", "relu"]),
    "hidden": CategoricalDistribution([128, 256, 312]),
}


class Spy(RandomSampler):
    """Proposes the last of each, and remembers what it was shown."""

    seen: list[FrozenTrial]

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self.seen = [t for t in study.get_trials() if t.number != trial.number]
        assert search_space == {"act": SPACE["act"], "hidden": IntDistribution(0, 2)}
        return {"act": "relu", "hidden": 2}


class Whole(OrdinalSampler):
    """Knows the space from the first trial on."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return SPACE


def tell_each_kind(study: Study) -> None:
    study.tell(study.ask(SPACE), 0.5)
    infeasible = study.ask(SPACE)
    infeasible.set_constraint("speedup", 1.5)
    study.tell(infeasible, state=TrialState.PRUNED)
    stopped = study.ask(SPACE)
    stopped.set_user_attr(RUNG, 0.5)
    stopped.set_user_attr(RUNG_VALUES, [0.2])
    study.tell(stopped, state=TrialState.PRUNED)
    study.tell(study.ask(SPACE), 0.9)
    study.tell(study.ask(SPACE), state=TrialState.FAIL)


def test_the_view_of_a_study() -> None:
    spy = Spy()
    study = optuna.create_study(direction="maximize", sampler=Whole(spy))
    tell_each_kind(study)
    assert study.ask(SPACE).params == {"act": "relu", "hidden": 312}
    assert [t.params for t in spy.seen] == [{"act": "relu", "hidden": 2}] * 4
    # The same architecture was trained in full: its rung is left out, as TPE would take a trial
    # without a value for a bad one. Rungs of other architectures are shown, see below.
    assert [t.value for t in spy.seen] == [0.5, None, 0.9, None]
    assert spy.seen[1].constraints == {"speedup": 1.5}


def test_values_at_a_rung_are_shown_as_of_a_full_training() -> None:
    spy = Spy()
    study = optuna.create_study(sampler=Whole(spy))
    study.enqueue_trial({"act": "gelu", "hidden": 128})
    study.enqueue_trial({"act": "gelu", "hidden": 256})
    study.tell(study.ask(SPACE), 1.0)
    stopped = study.ask(SPACE)
    stopped.set_user_attr(RUNG, 0.5)
    stopped.set_user_attr(RUNG_VALUES, [3.0])
    study.tell(stopped, state=TrialState.PRUNED)
    study.ask(SPACE)
    assert [(t.state, t.value) for t in spy.seen] == [
        (TrialState.COMPLETE, 1.0),
        (TrialState.COMPLETE, 1.0),
    ]


def test_choices_are_ordered_by_size_however_they_are_listed() -> None:
    listed = CategoricalDistribution([768, 192, 576, 384])
    embeddings = CategoricalDistribution([0, 64, 128])  # 0 is as wide as the hidden states
    space: dict[str, BaseDistribution] = {"hidden_size": listed, "embedding_size": embeddings}

    class Last(RandomSampler):
        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            self.seen = [t.params for t in study.get_trials() if t.number != trial.number]
            return {"hidden_size": 3, "embedding_size": 2}

    inner = Last()
    study = optuna.create_study()
    study.enqueue_trial({"hidden_size": 576, "embedding_size": 64})
    study.tell(study.ask(space), 1.0)
    sampler = OrdinalSampler(inner)
    found = sampler.sample_relative(study, study.get_trials()[0], space)
    assert found == {"hidden_size": 768, "embedding_size": 0}
    study.ask(space)
    sampler.sample_relative(study, study.get_trials()[1], space)
    assert inner.seen == [{"hidden_size": 2, "embedding_size": 0}]
