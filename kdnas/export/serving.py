"""A student in ONNX Runtime: made, checked, scored and timed beside its teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdnas.console import say
from kdnas.errors import KdnasError
from kdnas.export.agree import check_agreement
from kdnas.export.compare import Entry, compared
from kdnas.export.convert import input_names, to_onnx
from kdnas.export.formats import FILES
from kdnas.export.quantise import quantise
from kdnas.export.score import Exam
from kdnas.export.session import Session
from kdnas.measure import InTorch, count_params
from kdnas.measure.quiet import how_measured
from kdnas.run import Run
from kdnas.runtime import start_runtime
from kdnas.student.ship import load_student
from kdnas.tasks import TaskSpec
from kdnas.teacher.load import (
    Teacher,
    load_config,
    load_teacher,
    load_tokenizer,
    longest_input,
    teacher_source,
)

ONNX_PACKAGES = ("onnxruntime", "onnx")


class Serving:
    """What a student and its teacher are where they are served: on the CPU, in full precision.

    Args:
        run: The student's run.
        student: Folder of its checkpoint.
        max_drop: By how much int8 may lower the main score.
    """

    def __init__(self, run: Run, student: Path, max_drop: float) -> None:
        plain = run.settings.model_copy(update={"device": "cpu", "precision": "fp32"})
        self.run = run
        self.settings = plain
        self.max_drop = max_drop
        self.runtime = start_runtime(plain)
        self.file = student / "model.safetensors"
        self.config = load_config(str(student))
        self.model = load_student(student)
        self.tokenizer = load_tokenizer(str(student))
        self.names = input_names(self.model, self.tokenizer)
        self.longest = min(longest_input(self.config), int(self.tokenizer.model_max_length))

    def write(self, folder: Path, files: dict[str, str]) -> dict[str, Any]:
        """Writes the files, and returns what was found, as `export.json` holds it.

        Args:
            folder: Of the export.
            files: Paths in it, by format.

        Raises:
            KdnasError: The logits differ, or int8 lowers the score too much.
        """
        plain, small = folder / FILES["onnx"], folder / FILES["int8"]
        plain.parent.mkdir()
        say("student: PyTorch to ONNX")
        to_onnx(self.model, plain, self.names)
        session = Session(plain)
        difference = check_agreement(self.model, session, self.longest)
        size = self.file.stat().st_size
        entries = [
            Entry("student", "PyTorch", InTorch(self.model), size, self._score(self.model)),
            Entry("student", "ONNX", session, plain.stat().st_size, self._score(session)),
        ]
        if "int8" in files:
            entries.append(self._int8(plain, small, entries[0]))
        with self._teacher_entries() as teachers:
            models = compared([*teachers, *entries], self.settings, self.longest)
        if "onnx" not in files:
            plain.unlink()
        return {
            "files": files,
            "inputs": list(session.names),
            "pad_token": [self.tokenizer.pad_token, self.tokenizer.pad_token_id],
            "longest": min(self.longest, self.settings.max_length),
            "labels": self._labels,
            "largest_difference": difference,
            "max_drop": self.max_drop,
            "main_score": self.exam.spec.main_score if self.exam else None,
            "models": models,
            "environment": self._environment(),
        }

    @cached_property
    def exam(self) -> Exam | None:
        """The task's evaluation splits; None where they cannot be had, which is said."""
        try:
            return Exam.load(self.settings, self.tokenizer, self.config)
        except KdnasError as error:
            say(f"no scores: {error}")
            return None

    def _int8(self, plain: Path, small: Path, student: Entry) -> Entry:
        say("student: int8")
        quantise(plain, small)
        session = Session(small)
        entry = Entry("student", "int8", session, small.stat().st_size, self._score(session))
        if self.exam:
            name = self.exam.spec.main_score
            before, after = student.scores[name], entry.scores[name]
            if after < before - self.max_drop:
                raise KdnasError(
                    f"int8 lowers {name} from {before:.4f} to {after:.4f}, more than --max-drop "
                    f"{self.max_drop:g}; nothing was exported (--format onnx keeps the score)"
                )
        return entry

    @contextmanager
    def _teacher_entries(self) -> Iterator[list[Entry]]:
        """The teacher in PyTorch and in ONNX Runtime; nothing where it cannot be had."""
        try:
            teacher = self._teacher(self.exam.spec if self.exam else None)
        except KdnasError as error:
            say(f"no teacher beside it: {error}")
            yield []
            return
        say("teacher: PyTorch to ONNX")
        with tempfile.TemporaryDirectory(prefix="kdnas-onnx-") as folder:
            path = Path(folder) / "model.onnx"
            to_onnx(teacher.model, path, self.names)
            size = sum(file.stat().st_size for file in path.parent.iterdir())
            session = Session(path)
            # Four bytes a weight: where its checkpoint lies, and in what form, is not known.
            ours = 4 * count_params(teacher.model)
            known = teacher.has_head
            yield [
                Entry(
                    "teacher",
                    "PyTorch",
                    InTorch(teacher.model),
                    ours,
                    self._score(teacher.model) if known else {},
                ),
                Entry("teacher", "ONNX", session, size, self._score(session) if known else {}),
            ]

    def _teacher(self, spec: TaskSpec | None) -> Teacher:
        tuned = self.run.folder / "teacher"
        source = teacher_source(self.settings.teacher)
        return load_teacher(str(tuned) if (tuned / "config.json").exists() else source, spec)

    def _score(self, model: Any) -> dict[str, float]:
        if self.exam is None:
            return {}
        if isinstance(model, Session):
            return self.exam.of_session(model)
        return self.exam.of_model(model, self.runtime)

    @property
    def _labels(self) -> list[str] | None:
        """By output; None for a regression."""
        config = self.config
        if config.num_labels == 1:
            return None
        return [str(config.id2label[i]) for i in range(config.num_labels)]

    def _environment(self) -> dict[str, Any]:
        return {
            **self.runtime.describe(),
            **{name: version(name) for name in ONNX_PACKAGES},
            "latency_measured": how_measured(self.settings.latency_quiet),
        }
