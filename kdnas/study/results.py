"""Results of candidates, written to trials as plain numbers, values and constraints."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.config import Settings
from kdnas.measure.onnx import runtime_name
from kdnas.scoring.costs import NUMBERS as COSTS
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.space import Candidate, PrunedArchitecture
from kdnas.study.attributes import (
    BORROWED,
    CONTINUES,
    HEADS_LEFT,
    INFEASIBLE,
    INITIAL,
    NEURONS_LEFT,
    REPEATS,
    RUNG,
    RUNG_VALUES,
    RUNTIME,
    UNITS,
)
from kdnas.study.pruner import SuccessiveHalvingPruner

# The ends of a score's 95% interval, where its scorer knows one.
SCORE_INTERVAL = ("score_low", "score_high")


class TrialWriter:
    """Writes results into the trials of a study.

    `known` are trials of another study whose results are copied rather than paid for again.
    """

    def __init__(
        self,
        study: Study,
        settings: Settings,
        pruner: SuccessiveHalvingPruner,
        known: Mapping[Candidate, FrozenTrial],
    ) -> None:
        self.study, self.settings, self.pruner, self.known = study, settings, pruner, known

    def write(self, trial: Trial, evaluation: Evaluation, rung: int) -> None:
        """The result of an evaluation on a rung."""
        found = dict(evaluation.attributes)
        if (origin := trial.user_attrs.get(CONTINUES)) is not None:
            before = self.study.get_trials(deepcopy=False)[origin].user_attrs
            found |= {INITIAL: before[INITIAL]} if INITIAL in before else {}
        for name, value in found.items():
            trial.set_user_attr(name, value)
        if isinstance(evaluation.shape, PrunedArchitecture):
            counts = evaluation.shape.params
            trial.set_user_attr(HEADS_LEFT, counts["num_attention_heads"])
            trial.set_user_attr(NEURONS_LEFT, counts["intermediate_size"])
        trial.set_user_attr(RUNTIME, runtime_name(self.settings.latency_runtime))
        for name, value in evaluation.violations.items():
            trial.set_constraint(name, value)
        self._tell(trial, evaluation.attributes, rung)

    def reuse(self, trial: Trial, candidate: Candidate, rung: int) -> str | None:
        """Copies a result that is known for a candidate, at no cost.

        Returns:
            What was done, in words; None where nothing is known and the trial is still open.
        """
        origin = trial.user_attrs.get(CONTINUES)
        for other in self.study.get_trials(deepcopy=False):
            same = other.params == trial.params and REPEATS not in other.user_attrs
            if other.number == trial.number or not same:
                continue
            ended = self.pruner.rung_of(other) if other.state.is_finished() else None
            if ended is not None and ended >= rung:
                self._copy(trial, other)
                self._repeat(trial, other)
                self._tell(trial, other.user_attrs, ended)
                return f"trial {trial.number} repeats trial {other.number}; copied its result"
            beside = origin is not None and other.user_attrs.get(CONTINUES) == origin
            if beside and other.state == TrialState.RUNNING and other.number < trial.number:
                self._repeat(trial, other)
                self.study.tell(trial, state=TrialState.PRUNED)
                return f"trial {trial.number} is dropped: another worker runs trial {other.number}"
        if (result := self.known.get(candidate)) is not None:
            self._copy(trial, result)
            trial.set_user_attr(BORROWED, result.number)
            self._tell(trial, result.user_attrs, rung)
            return f"trial {trial.number} copies the result of the search's trial {result.number}"
        return None

    def costs_of(self, trial: FrozenTrial) -> Costs | None:
        """The costs that an earlier trial measured."""
        known = trial.user_attrs
        return Costs(**{name: known[name] for name in COSTS}) if set(COSTS) <= set(known) else None

    def _repeat(self, trial: Trial, other: FrozenTrial) -> None:
        trial.set_user_attr(REPEATS, other.number)
        trial.set_user_attr(UNITS, 0)

    def _copy(self, trial: Trial, other: FrozenTrial) -> None:
        for name in (
            *COSTS,
            HEADS_LEFT,
            NEURONS_LEFT,
            RUNTIME,
            "score",
            *SCORE_INTERVAL,
            INITIAL,
            "loss",
            "reward",
        ):
            if name in other.user_attrs:
                trial.set_user_attr(name, other.user_attrs[name])
        trial.set_user_attr("seconds", 0.0)
        for name, value in other.constraints.items():
            trial.set_constraint(name, value)

    def _tell(self, trial: Trial, found: Mapping[str, float], rung: int) -> None:
        """Complete on the last rung; pruned on a lower one, or where no reward was found."""
        if "reward" not in found:
            trial.set_user_attr(INFEASIBLE, True)
            trial.set_user_attr(UNITS, 0)
        elif rung == self.pruner.last:
            self.study.tell(trial, objective_values(found, self.settings))
            return
        else:
            values = objective_values(found, self.settings)
            trial.set_user_attr(RUNG, self.pruner.share(rung))
            trial.set_user_attr(RUNG_VALUES, values)
            if len(values) == 1:  # so that Optuna's samplers learn from it, too
                trial.report(values[0], rung)
        self.study.tell(trial, state=TrialState.PRUNED)


def objective_values(found: Mapping[str, float], settings: Settings) -> list[float]:
    """The values of a scored candidate's trial, from its attributes by name."""
    if settings.objective == "reward":
        return [found["reward"]]
    if settings.cost == "latency":  # relative: milliseconds drift, the ratio does not
        return [found["loss"], 1 / found["speedup"]]
    return [found["loss"], found[settings.cost]]
