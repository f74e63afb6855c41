"""Which kind of work each part of a plan is, and what makes that shorter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from kdnas.config import Settings
from kdnas.measure.latency import FEWEST
from kdnas.workflow.planning.estimate import (
    OF_FOLDS,
    PAGES,
    PSEUDO_LABELS,
    SCORING,
    SIGNAL,
    TEACHER_TUNING,
    TIMING,
    TRANSFER,
)
from kdnas.workflow.preparing.check_teacher import SCORES
from kdnas.workflow.preparing.pruned import LATENCY_TABLE
from kdnas.workflow.searching.allot import Work
from kdnas.workflow.searching.screening import SCREENING

TRIAL = "trial"
ROWS = "fewer rows (--max-train-rows)"
TUNING = Work("fine-tuning the teacher", f"{ROWS} or fewer epochs (--teacher-epochs)")
EVALUATION = Work("scoring on the evaluation rows", "fewer of them (--max-eval-rows)")
SEARCHING = Work("the trial", f"{ROWS} or fewer epochs (--mini-epochs)")
TRAINING = Work("distillation in full", f"{ROWS} or fewer epochs (--epochs-share)")
READING = Work("the teacher's outputs", ROWS)
FURTHER = Work("the teacher's texts for further rows", "fewer of them (--transfer-rows)")
BEGINNING = Work("finding what the search begins with", "a search without (--no-warm-start)")
TIMED = "timing the models"
PASSES = "fewer passes (--latency-repeats)"
# All other parts are stages of the training in full.
WORK = {
    **dict.fromkeys((TEACHER_TUNING, *OF_FOLDS), TUNING),
    **dict.fromkeys((SCORES, SCORING), EVALUATION),
    **dict.fromkeys((SIGNAL, PSEUDO_LABELS), READING),
    **{TRANSFER: FURTHER, TRIAL: SEARCHING, SCREENING: BEGINNING},
    PAGES: Work("writing the report"),
    **dict.fromkeys((LATENCY_TABLE, "importance"), Work("measuring what can be pruned")),
}


def by_work(parts: Iterable[Mapping[str, float]], settings: Settings) -> dict[Work, float]:
    """Seconds by kind of work, from those by part of an estimate."""
    timing = Work(TIMED, PASSES if settings.latency_repeats > FEWEST else "")
    found = defaultdict[Work, float](float)
    for part, seconds in (pair for one in parts for pair in one.items()):
        found[timing if part == TIMING else WORK.get(part, TRAINING)] += seconds
    return dict(found)
