"""Students that a search looks at first."""

from __future__ import annotations

import torch
from optuna.study import Study

from kdnas.config import Settings
from kdnas.measure import count_macs, count_params
from kdnas.scoring.evaluator import Evaluator
from kdnas.space import Architecture, SearchSpace
from kdnas.space.wellknown import first_students
from kdnas.students import empty_student

# One planned trial in so many; more of them cost a search more than they gave (docs/results.md).
SHARE = 8


def warm_start(study: Study, space: SearchSpace, evaluator: Evaluator) -> None:
    """Enqueues known shapes and corners of the space in a study that has no trial yet.

    Those that cannot keep the limits of the settings are left out: by their parameters, and by
    their arithmetic, since no student is faster than its share of the teacher's.
    """
    if study.get_trials(deepcopy=False):
        return
    most = evaluator.settings.trials // SHARE
    fitting = (a for a in first_students(space) if _may_fit(a, evaluator))
    for architecture, _ in zip(fitting, range(most), strict=False):
        study.enqueue_trial(architecture.params, skip_if_exists=True)


def _may_fit(architecture: Architecture, evaluator: Evaluator) -> bool:
    settings: Settings = evaluator.settings
    if settings.max_params is None and settings.speedup is None:
        return True
    with torch.random.fork_rng(devices=[]):
        student = empty_student(evaluator.teacher.config, architecture).eval()
    if settings.max_params is not None and count_params(student) > settings.max_params:
        return False
    macs = count_macs(student, settings.latency_length)
    return settings.speedup is None or evaluator.teacher_macs / macs >= settings.speedup
