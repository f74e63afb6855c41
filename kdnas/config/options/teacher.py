"""How the teacher is read and fine-tuned."""

from __future__ import annotations

from typing import ClassVar

from kdnas.config.options.base import Options, setting
from kdnas.config.recipe import LEAST_EPOCHS, LEAST_LR, MOST_EPOCHS, MOST_LR

MOST_FOLDS = 50


class TeacherOptions(Options):
    """The panel Teacher of --help."""

    panel: ClassVar[str] = "Teacher"

    general_teacher: str | None = setting(
        None, "Teacher of general stages; default: the teacher before fine-tuning."
    )
    teacher_as_is: bool = setting(False, "Do not fine-tune the teacher.", main=True)
    fine_tune: bool = setting(
        False,
        "Fine-tune the teacher on the task, also where it has a head for it; default: only where "
        "it has none.",
        main=True,
    )
    label_map: str | None = setting(
        None,
        "The outputs of the teacher's head, by name or number and with commas between them, in "
        "the order of the task's labels; default: matched by their names, else as they are.",
        form="LIST",
    )
    fresh_head: bool = setting(
        False, "Train a new head for the teacher, also where it has one for the task."
    )
    labels_stand_in: bool = setting(
        False,
        "Let the labels of training rows stand in for predictions that a black-box teacher's file "
        "lacks; default: of at most 1% of the rows.",
    )
    force: bool = setting(
        False, "Go on with a teacher that is not clearly better than one constant answer."
    )
    teacher_epochs: float = setting(
        3, "Epochs of fine-tuning the teacher.", ge=LEAST_EPOCHS, le=MOST_EPOCHS, main=True
    )
    teacher_folds: int = setting(
        1,
        "Fine-tune so many further teachers, each without one part of the training rows: on that "
        "part, students learn the outputs of the one that has not seen it. 1: no further ones. "
        "Four take as long as fine-tuning the teacher three times.",
        ge=1,
        le=MOST_FOLDS,
    )
    teacher_lr: float = setting(
        5e-5, "Peak learning rate of fine-tuning the teacher.", ge=LEAST_LR, le=MOST_LR
    )
