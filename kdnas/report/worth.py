"""What the search's score was worth here: how it ranks the students that were trained in full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from kdnas.files.curves import MINI_KD
from kdnas.report.data import ReportData
from kdnas.report.model import SEARCHED, ControlModel, Report
from kdnas.report.trials_table import finished, records
from kdnas.scoring.rank_agreement import Agreement, agreement
from kdnas.space import Candidate
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.study.rows import candidate_of

LEAST = 3
# Below this tau the order of the scores says little about the final order.
TRUSTED = 0.5


class Trained(NamedTuple):
    """A student that was distilled in full."""

    name: str
    score: float  # of its short training
    final: float  # main score of the task


@dataclass(frozen=True)
class Worth:
    """How the search's score ranks students that were distilled in full."""

    metric: str
    students: list[Trained]
    found: Agreement | None  # None for fewer than LEAST students

    @property
    def sentence(self) -> str:
        """It in a sentence or two."""
        n, metric = len(self.students), self.metric
        if self.found is None:
            return (
                f"What the search's score was worth here cannot be told: {LEAST} students that "
                "were distilled in full and scored on the reported rows are needed, and there "
                f"{'is' if n == 1 else 'are'} {n}. kdnas fidelity tells."
            )
        begin = f"What the search's score was worth here, against {metric} after full training:"
        if self.found.tau is None:
            return f"{begin} {self.ties}: no rank correlation."
        interval, tau = self.found.tau_interval, self.found.tau
        sure = f", 95% interval {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
        few = "; so few students are no proof" if interval is None else ""
        low = " It ranked them poorly: distil several students of the front."
        return (
            f"{begin} Kendall's tau {tau:.2f} (n = {n}{sure}){few}.{low if tau < TRUSTED else ''}"
        )

    @property
    def ties(self) -> str:
        """Which side is all ties."""
        finals = {one.final for one in self.students}
        n = len(self.students)
        if len(finals) == 1:
            return f"all {n} final scores are equal ({finals.pop():.4f})"
        return f"all {n} scores of the search are equal"


def worth(data: ReportData) -> Worth | None:
    """It, by `kdnas fidelity` where it was measured, else by what was distilled anyway.

    None before a student is finished, and without a search.
    """
    if data.fidelity:
        known = [
            Trained(s["label"], 1 - s["loss"], fmean(s["final"].values()))
            for s in data.fidelity["students"]
        ]
        return _of(str(data.fidelity["metric"]), known)
    if data.report is None or data.study is None:
        return None
    metric, students = data.report.main_score, dict[Candidate, Trained]()
    for report in (data.report, *data.others):
        for candidate, one in _trained_for(data, report):
            students.setdefault(candidate, one)
    return _of(metric, list(students.values()))


def _of(metric: str, students: list[Trained]) -> Worth:
    scores, finals = [one.score for one in students], [one.final for one in students]
    return Worth(metric, students, agreement(scores, finals) if len(students) >= LEAST else None)


def _trained_for(data: ReportData, report: Report) -> Iterator[tuple[Candidate, Trained]]:
    """A report's student and controls, as far as they were distilled and have a score.

    No trial has assistants: of a student that has, the one without them stands for its trial.
    """
    main = report.main_score
    rows = finished(data.table)
    # Where a control ships, it is the student, and the search's own is among the controls.
    own = report.ships_without_assistants or (report.ships_its_own and not report.assisted)
    for row in records(rows[rows.number == report.student.trial]):
        if own and main in report.student.scores:
            chosen, final = candidate_of(row), report.student.scores[main]
            yield chosen, Trained(chosen.label, float(row["score"]), final)
    for control in report.controls:
        if report.assisted and control.name == SEARCHED:
            continue
        score = control_score(data, report, control)
        if score is not None and main in control.scores:
            candidate = _candidate_of_control(data, control)
            yield candidate, Trained(candidate.label, score, control.scores[main])


def control_score(data: ReportData, report: Report, control: ControlModel) -> float | None:
    """A control's score as the search would give it; None where it was not distilled.

    Of its own short training (a student that was distilled beside the winner has controls of its
    own), else of a trial of the same shape, recipe and vocabulary.
    """
    if control.folder == "fine-tuned":
        return None
    trained = {c["name"]: c["heldout"] for c in data.curves if c["stage"] == MINI_KD}
    names = (f"trial-{report.student.trial} {control.folder}", control.folder)
    known = [trained[name] for name in names if trained.get(name) is not None]
    if known:
        return 1 - float(known[0])
    candidate = _candidate_of_control(data, control)
    for table in (data.table, data.control):
        if table is not None:
            for row in records(finished(table)):
                if candidate_of(row) == candidate:
                    return 1 - float(row["loss"])
    return None


def _candidate_of_control(data: ReportData, control: ControlModel) -> Candidate:
    """A control as a search would try it; what no search chose is as in its trials."""
    usual = data.settings.vocabulary_names[0]
    recipe, vocabulary = control.recipe or DEFAULT_RECIPE, control.vocabulary or usual
    return Candidate(control.architecture, recipe, vocabulary)
