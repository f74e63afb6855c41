"""What a study is told of a candidate."""

from __future__ import annotations

from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.config import Settings
from kdnas.measure.onnx import runtime_name
from kdnas.scoring.evaluator import Costs, Outcome
from kdnas.space import Architecture
from kdnas.study.budget import Plan
from kdnas.study.rungs import CONTINUES, UNITS
from kdnas.study.samplers.names import RUNG, RUNG_VALUES
from kdnas.study.trials import BORROWED, INFEASIBLE, REPEATS, RUNTIME

COSTS = tuple(Costs.__dataclass_fields__)


class Teller:
    """Writes results into trials: plain numbers, values, constraints.

    Args:
        study: Whose trials.
        settings: Of the run.
        plan: Of the search.
    """

    def __init__(self, study: Study, settings: Settings, plan: Plan) -> None:
        self.study = study
        self.settings = settings
        self.plan = plan

    def tell(self, trial: Trial, outcome: Outcome, rung: int) -> None:
        """The result of an evaluation on a rung."""
        for name, value in outcome.attributes.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(RUNTIME, runtime_name(self.settings.latency_runtime))
        for name, value in outcome.constraints.items():
            trial.set_constraint(name, value)
        if outcome.score is None:
            trial.set_user_attr(INFEASIBLE, True)
            trial.set_user_attr(UNITS, 0)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self._score(trial, self._values(outcome.attributes), rung)

    def known(self, trial: Trial, architecture: Architecture, rung: int) -> str | None:
        """Tells what is known of an architecture without paying for it again.

        Returns:
            What was told, in words; None where nothing is known and the trial is still open.
        """
        others = [t for t in self.study.get_trials(deepcopy=False) if t.number != trial.number]
        origin = trial.user_attrs.get(CONTINUES)
        for other in others:
            if not _spells(other.params, architecture) or REPEATS in other.user_attrs:
                continue
            ended = self.plan.ladder.rung_of(other) if other.state.is_finished() else None
            if ended is not None and ended >= rung:
                self._copy(trial, other)
                trial.set_user_attr(REPEATS, other.number)
                trial.set_user_attr(UNITS, 0)
                self._score(trial, self._values(other.user_attrs), ended)
                return f"trial {trial.number} repeats trial {other.number}; it is told again"
            same = origin is not None and other.user_attrs.get(CONTINUES) == origin
            if same and other.state == TrialState.RUNNING and other.number < trial.number:
                trial.set_user_attr(REPEATS, other.number)
                trial.set_user_attr(UNITS, 0)
                self.study.tell(trial, state=TrialState.PRUNED)
                return f"trial {trial.number} is left to trial {other.number}, under way elsewhere"
        if (result := self.plan.known.get(architecture)) is not None:
            self._borrow(trial, result, rung)
            return f"trial {trial.number} is the search's own trial {result.number}"
        return None

    def _borrow(self, trial: Trial, result: FrozenTrial, rung: int) -> None:
        self._copy(trial, result)
        trial.set_user_attr(BORROWED, result.number)
        if INFEASIBLE in result.user_attrs:
            trial.set_user_attr(INFEASIBLE, True)
            trial.set_user_attr(UNITS, 0)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self._score(trial, self._values(result.user_attrs), rung)

    def costs_of(self, number: int) -> Costs | None:
        """What an earlier trial found its candidate to cost."""
        known = self.study.get_trials(deepcopy=False)[number].user_attrs
        return Costs(**{name: known[name] for name in COSTS}) if set(COSTS) <= set(known) else None

    def _copy(self, trial: Trial, other: FrozenTrial) -> None:
        for name in (*COSTS, RUNTIME, "loss", "reward"):
            if name in other.user_attrs:
                trial.set_user_attr(name, other.user_attrs[name])
        trial.set_user_attr("seconds", 0.0)
        for name, value in other.constraints.items():
            trial.set_constraint(name, value)

    def _score(self, trial: Trial, values: list[float], rung: int) -> None:
        """Complete at the top; on a lower rung, pruned with what it was worth there."""
        if rung == self.plan.ladder.rungs - 1:
            self.study.tell(trial, values)
            return
        trial.set_user_attr(RUNG, self.plan.ladder.share(rung))
        trial.set_user_attr(RUNG_VALUES, values)
        if len(values) == 1:  # so that Optuna's samplers learn from it, too
            trial.report(values[0], rung)
        self.study.tell(trial, state=TrialState.PRUNED)

    def _values(self, attributes: dict[str, float]) -> list[float]:
        if self.settings.objective == "reward":
            return [attributes["reward"]]
        if self.settings.cost == "latency":  # relative: milliseconds drift, the ratio does not
            return [attributes["loss"], 1 / attributes["speedup"]]
        return [attributes["loss"], attributes[self.settings.cost]]


def _spells(params: dict[str, Any], architecture: Architecture) -> bool:
    return all(params.get(name) == value for name, value in architecture.params.items())
