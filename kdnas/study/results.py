"""Results of candidates, written to trials as plain numbers, values and constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.config.choices import Cost, LatencyRuntime, Objective
from kdnas.measure.onnx import runtime_name
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.space import Candidate, SearchSpace
from kdnas.study.attributes import (
    BORROWED,
    CONTINUES,
    INFEASIBLE,
    REPEATS,
    RUNG,
    RUNG_VALUES,
    RUNTIME,
    UNITS,
)
from kdnas.study.pruner import SuccessiveHalvingPruner

COSTS = tuple(Costs.__dataclass_fields__)


@dataclass(frozen=True)
class Results:
    """Writes results into the trials of a study.

    Attributes:
        study: Whose trials.
        space: Of its candidates.
        pruner: Its rungs.
        objective: `reward`, or `pareto`: loss against cost.
        cost: Which cost `pareto` weighs.
        runtime: That students are timed in.
        known: Trials of another study whose results are copied rather than paid for again.
    """

    study: Study
    space: SearchSpace
    pruner: SuccessiveHalvingPruner
    objective: Objective = "reward"
    cost: Cost = "latency"
    runtime: LatencyRuntime = "torch"
    known: Mapping[Candidate, FrozenTrial] = field(default_factory=dict)

    def write(self, trial: Trial, evaluation: Evaluation, rung: int) -> None:
        """The result of an evaluation on a rung."""
        for name, value in evaluation.attributes.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(RUNTIME, runtime_name(self.runtime))
        for name, value in evaluation.violations.items():
            trial.set_constraint(name, value)
        if evaluation.score is None:
            self._tell_infeasible(trial)
        else:
            self._tell_values(trial, self._values(evaluation.attributes), rung)

    def reuse(self, trial: Trial, candidate: Candidate, rung: int) -> str | None:
        """Copies a result that is known for a candidate, at no cost.

        Returns:
            What was done, in words; None where nothing is known and the trial is still open.
        """
        origin = trial.user_attrs.get(CONTINUES)
        for other in self._others(trial, candidate):
            ended = self.pruner.rung_of(other) if other.state.is_finished() else None
            if ended is not None and ended >= rung:
                self._copy(trial, other)
                trial.set_user_attr(REPEATS, other.number)
                trial.set_user_attr(UNITS, 0)
                self._tell_values(trial, self._values(other.user_attrs), ended)
                return f"trial {trial.number} repeats trial {other.number}; copied its result"
            same = origin is not None and other.user_attrs.get(CONTINUES) == origin
            if same and other.state == TrialState.RUNNING and other.number < trial.number:
                trial.set_user_attr(REPEATS, other.number)
                trial.set_user_attr(UNITS, 0)
                self.study.tell(trial, state=TrialState.PRUNED)
                return f"trial {trial.number} is dropped: another worker runs trial {other.number}"
        if (result := self.known.get(candidate)) is not None:
            self._borrow(trial, result, rung)
            return f"trial {trial.number} copies the result of the search's trial {result.number}"
        return None

    def costs_of(self, number: int) -> Costs | None:
        """The costs that an earlier trial measured."""
        known = self.study.get_trials(deepcopy=False)[number].user_attrs
        return Costs(**{name: known[name] for name in COSTS}) if set(COSTS) <= set(known) else None

    def _others(self, trial: Trial, candidate: Candidate) -> Sequence[FrozenTrial]:
        wanted = self.space.params(candidate)
        return [
            t
            for t in self.study.get_trials(deepcopy=False)
            if t.number != trial.number and t.params == wanted and REPEATS not in t.user_attrs
        ]

    def _borrow(self, trial: Trial, result: FrozenTrial, rung: int) -> None:
        self._copy(trial, result)
        trial.set_user_attr(BORROWED, result.number)
        if INFEASIBLE in result.user_attrs:
            self._tell_infeasible(trial)
        else:
            self._tell_values(trial, self._values(result.user_attrs), rung)

    def _copy(self, trial: Trial, other: FrozenTrial) -> None:
        for name in (*COSTS, RUNTIME, "score", "loss", "reward"):
            if name in other.user_attrs:
                trial.set_user_attr(name, other.user_attrs[name])
        trial.set_user_attr("seconds", 0.0)
        for name, value in other.constraints.items():
            trial.set_constraint(name, value)

    def _tell_infeasible(self, trial: Trial) -> None:
        trial.set_user_attr(INFEASIBLE, True)
        trial.set_user_attr(UNITS, 0)
        self.study.tell(trial, state=TrialState.PRUNED)

    def _tell_values(self, trial: Trial, values: list[float], rung: int) -> None:
        """Complete on the last rung; on a lower one, pruned with its values there."""
        if rung == self.pruner.last:
            self.study.tell(trial, values)
            return
        trial.set_user_attr(RUNG, self.pruner.share(rung))
        trial.set_user_attr(RUNG_VALUES, values)
        if len(values) == 1:  # so that Optuna's samplers learn from it, too
            trial.report(values[0], rung)
        self.study.tell(trial, state=TrialState.PRUNED)

    def _values(self, attributes: Mapping[str, float]) -> list[float]:
        if self.objective == "reward":
            return [attributes["reward"]]
        if self.cost == "latency":  # relative: milliseconds drift, the ratio does not
            return [attributes["loss"], 1 / attributes["speedup"]]
        return [attributes["loss"], attributes[self.cost]]
