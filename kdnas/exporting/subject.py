"""What is exported: a shipped student, its teacher, and what both are scored on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.exporting.score import Exam
from kdnas.measure.onnx import Session, input_names
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import start_runtime
from kdnas.students.checkpoint import load_student
from kdnas.tasks import task_type_of
from kdnas.teachers.load import (
    Teacher,
    load_config,
    load_teacher,
    load_tokenizer,
    longest_input,
    teacher_source,
)


class Subject:
    """A student where it will be served: on the CPU, in full precision, with the run's threads.

    Args:
        run: The student's run.
        student: Folder of its checkpoint.
    """

    def __init__(self, run: Run, student: Path) -> None:
        self.run = run
        self.settings = run.settings.model_copy(update={"device": "cpu", "precision": "fp32"})
        self.runtime = start_runtime(device="cpu", precision="fp32", threads=self.settings.threads)
        self.config = load_config(str(student))
        self.tokenizer = load_tokenizer(str(student))
        self.model = load_student(student)
        self.task = task_type_of(self.config)
        self.bytes = sum(file.stat().st_size for file in student.glob("*.safetensors"))
        self.names = input_names(self.model, self.tokenizer)
        self.longest = min(longest_input(self.config), int(self.tokenizer.model_max_length))

    @cached_property
    def exam(self) -> Exam | None:
        """The task's evaluation splits; None where they cannot be had, which is said."""
        try:
            return Exam.load(self.settings, self.tokenizer, self.config)
        except KdnasError as error:
            say(f"no scores: {error}")
            return None

    @cached_property
    def teacher(self) -> Teacher | None:
        """The run's teacher; None where it cannot be had, which is said."""
        tuned = self.run.folder / "teacher"
        known = (tuned / "config.json").exists()
        try:
            source = str(tuned) if known else teacher_source(self.settings.teacher)
            return load_teacher(source, self.exam.spec if self.exam else None)
        except KdnasError as error:
            say(f"no teacher beside it: {error}")
            return None

    @property
    def main_score(self) -> str | None:
        """The score that stands for the others; None where there is no data."""
        return self.exam.spec.main_score if self.exam else None

    def score(self, model: PreTrainedModel | Session) -> dict[str, float]:
        """On the evaluation splits; empty where there are none."""
        if self.exam is None:
            return {}
        if isinstance(model, Session):
            return self.exam.of_session(model)
        return self.exam.of_model(model, self.runtime)
