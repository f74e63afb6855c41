"""A student in ONNX Runtime: made, checked, scored and timed beside its teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.exporting.agreement import check_agreement
from kdnas.exporting.compare import Entry, compared
from kdnas.exporting.formats import FILES
from kdnas.exporting.quantise import quantise
from kdnas.exporting.subject import Subject
from kdnas.measure import InTorch, count_params
from kdnas.measure.onnx import PACKAGES, Session, to_onnx
from kdnas.measure.quiet import how_measured
from kdnas.runtime.console import say
from kdnas.tasks.encode import padding_id


def serve(
    subject: Subject, folder: Path, files: dict[str, str], max_drop: float, timing: bool = True
) -> dict[str, Any]:
    """Writes a student's ONNX files, and returns what was found, as `export.json` holds it.

    Args:
        subject: The student.
        folder: Of the export.
        files: Paths in it, by format.
        max_drop: By how much int8 may lower the main score.
        timing: Whether all are timed, and the teacher, too; without, the teacher is left out.

    Raises:
        KdnasError: The logits differ from PyTorch's, or int8 lowers the score too much.
    """
    plain = folder / FILES["onnx"]
    plain.parent.mkdir()
    say("student: PyTorch to ONNX")
    to_onnx(subject.model, plain, subject.names)
    session = Session(plain)
    difference = check_agreement(subject.model, session, subject.longest)
    torch_scores = subject.score(subject.model)
    entries = [
        Entry("student", "PyTorch", InTorch(subject.model), subject.bytes, torch_scores),
        Entry("student", "ONNX", session, plain.stat().st_size, subject.score(session)),
    ]
    if "int8" in files:
        entries.append(_int8(subject, plain, folder / FILES["int8"], entries[0], max_drop))
    if timing:
        with _teachers(subject) as teachers:
            models = compared([*teachers, *entries], subject.settings, subject.longest)
    else:
        models = [entry.described([]) for entry in entries]
    if "onnx" not in files:
        plain.unlink()
    tokenizer, settings = subject.tokenizer, subject.settings
    pad = padding_id(subject.config, tokenizer)
    return {
        "files": files,
        "inputs": list(session.names),
        "pad_token": [tokenizer.convert_ids_to_tokens(pad), pad],
        "longest": min(subject.longest, settings.max_length),
        "task_type": subject.task.name,
        "labels": subject.task.output_names(subject.config),
        "largest_difference": difference,
        "int8_change": _change(entries) if "int8" in files else {},
        "max_drop": max_drop,
        "main_score": subject.main_score,
        "models": models,
        "environment": {
            **subject.runtime.describe(),
            **{name: version(name) for name in PACKAGES},
            "latency_measured": how_measured(settings.latency_quiet),
        },
    }


def _int8(subject: Subject, plain: Path, small: Path, student: Entry, max_drop: float) -> Entry:
    say("student: int8")
    quantise(plain, small)
    session = Session(small)
    entry = Entry("student", "int8", session, small.stat().st_size, subject.score(session))
    if name := subject.main_score:
        before, after = student.scores[name], entry.scores[name]
        if after < before - max_drop:
            raise KdnasError(
                f"int8 lowers {name} from {before:.4f} to {after:.4f}, more than --max-drop "
                f"{max_drop:g}; nothing was exported (--format onnx keeps the score)"
            )
    return entry


def _change(entries: list[Entry]) -> dict[str, float]:
    """What int8, the last of a student's entries, adds to each of its scores in PyTorch."""
    before, after = entries[0].scores, entries[-1].scores
    return {name: round(after[name] - before[name], 5) for name in before}


@contextmanager
def _teachers(subject: Subject) -> Iterator[list[Entry]]:
    """The teacher in PyTorch and in ONNX Runtime; nothing where it cannot be had."""
    teacher = subject.teacher
    if teacher is None:
        yield []
        return
    say("teacher: PyTorch to ONNX")
    with tempfile.TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(teacher.model, path, subject.names)
        session = Session(path)
        scores = [subject.score(m) if teacher.has_head else {} for m in (teacher.model, session)]
        # Four bytes a weight: where its checkpoint lies, and in what form, is not always known.
        sizes = (
            4 * count_params(teacher.model),
            sum(f.stat().st_size for f in path.parent.iterdir()),
        )
        yield [
            Entry("teacher", "PyTorch", InTorch(teacher.model), sizes[0], scores[0]),
            Entry("teacher", "ONNX", session, sizes[1], scores[1]),
        ]
