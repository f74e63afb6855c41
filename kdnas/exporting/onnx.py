"""A student in ONNX Runtime: converted, checked against PyTorch, quantised, scored and timed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.exporting.timing import Entry, compare
from kdnas.measure import InTorch, count_params
from kdnas.measure.onnx import PACKAGES, Session, input_names, to_onnx
from kdnas.measure.quiet import computing, how_measured
from kdnas.runtime.console import say
from kdnas.tasks.encode import padding_id
from kdnas.teachers.load import Teacher

# Where the hub's other tools look for such files, too.
FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
TOLERANCE = 1e-4
# (batch, length) of the inputs that are compared; the longest input, up to LONGEST, comes on top.
SHAPES = ((1, 1), (1, 8), (3, 2), (2, 33), (5, 64))
LONGEST = 512
QUANTISED = ("MatMul", "Gather")

Scorer = Callable[[PreTrainedModel | Session], dict[str, float]]


@dataclass(frozen=True)
class Student:
    """A checked student on the CPU in full precision.

    Attributes:
        model: In evaluation mode.
        tokenizer: Its tokenizer.
        bytes: Of its weights on disk.
        longest: Most tokens that model and tokenizer read.
    """

    model: PreTrainedModel
    tokenizer: Any
    bytes: int
    longest: int


def export_onnx(
    student: Student,
    folder: Path,
    formats: Sequence[str],
    *,
    score: Scorer,
    main_score: str | None,
    max_drop: float,
    teacher: Teacher | None = None,
    points: Sequence[tuple[int, int]] = (),
    quiet: bool = True,
) -> dict[str, Any]:
    """Writes a student's ONNX files.

    Args:
        student: The student.
        folder: Of the export.
        formats: `onnx`, `int8` or both.
        score: A model's scores by metric; empty where the task's data are missing.
        main_score: The metric that int8 must keep; None where nothing is scored.
        max_drop: How much of it int8 may lose.
        teacher: Compared beside the student.
        points: (batch, length) at which all models are timed.
        quiet: Whether other kdnas processes pause meanwhile.

    Returns:
        What was measured, as export.json holds it.

    Raises:
        KdnasError: The logits differ from PyTorch's, or int8 loses more than max_drop.
    """
    plain, small = (folder / FILES[name] for name in ("onnx", "int8"))
    plain.parent.mkdir()
    say("student: PyTorch to ONNX")
    names = input_names(student.model, student.tokenizer)
    to_onnx(student.model, plain, names)
    session = Session(plain)
    difference = check_agreement(student.model, session, student.longest)
    before = score(student.model)
    entries = [
        Entry("student", "PyTorch", InTorch(student.model), student.bytes, before),
        Entry("student", "ONNX", session, plain.stat().st_size, score(session)),
    ]
    change: dict[str, float] = {}
    if "int8" in formats:
        say("student: int8")
        quantise(plain, small)
        session8 = Session(small)
        after = score(session8)
        _check_drop(main_score, before, after, max_drop)
        entries.append(Entry("student", "int8", session8, small.stat().st_size, after))
        change = {name: round(after[name] - before[name], 5) for name in before}
    if teacher is not None:
        entries = [*_teacher_entries(teacher, names, score), *entries]
    models = compare(entries, points, quiet=quiet)
    if "onnx" not in formats:
        plain.unlink()
    return {
        "files": {name: FILES[name] for name in formats},
        "inputs": list(session.names),
        "largest_difference": difference,
        "int8_change": change,
        "max_drop": max_drop,
        "main_score": main_score,
        "models": models,
        "environment": {
            **{name: version(name) for name in PACKAGES},
            "latency_measured": how_measured(quiet),
        },
    }


def check_agreement(model: PreTrainedModel, session: Session, longest: int) -> float:
    """The largest difference between their outputs, over batches, lengths and paddings.

    Args:
        model: The student in PyTorch, in full precision on the CPU.
        session: Its ONNX file.
        longest: Most tokens that the model reads.

    Raises:
        KdnasError: They differ by more than TOLERANCE.
    """
    worst = 0.0
    with computing(torch.device("cpu")):
        for inputs in random_inputs(model, session.names, longest):
            with torch.inference_mode():
                ours = model(**{name: torch.from_numpy(v) for name, v in inputs.items()})
            theirs = session.run(inputs).items()
            difference = max(float(np.abs(v - ours[name].numpy()).max()) for name, v in theirs)
            if not difference <= TOLERANCE:  # also where it is NaN
                batch, length = inputs["input_ids"].shape
                raise KdnasError(
                    f"the ONNX file's logits differ from PyTorch's by {difference:.2g} at {batch} "
                    f"x {length} tokens (at most {TOLERANCE:g}); nothing was exported"
                )
            worst = max(worst, difference)
    return worst


def random_inputs(
    model: PreTrainedModel, names: tuple[str, ...], longest: int
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Random tokens of many shapes, with and without padding on the right."""
    rng, config = np.random.default_rng(0), model.config
    pad = padding_id(config)
    shapes = [shape for shape in SHAPES if shape[1] <= longest]
    for batch, length in (*shapes, (2, min(longest, LONGEST))):
        for padded in (False, True):
            ends = rng.integers(1, length + 1, batch) if padded else np.full(batch, length)
            mask = np.arange(length) < ends[:, None]
            ids = rng.integers(0, config.vocab_size, mask.shape)
            ids[ids == pad] += 1 if pad == 0 else -1
            inputs = {
                "input_ids": np.where(mask, ids, pad),
                "attention_mask": mask.astype(np.int64),
            }
            if "token_type_ids" in names:
                kinds = max(1, int(getattr(config, "type_vocab_size", 1)))
                inputs["token_type_ids"] = rng.integers(0, kinds, mask.shape) * mask
            yield inputs


def quantise(source: Path, target: Path) -> None:
    """Writes an ONNX file with 8-bit weights, one scale a channel, and dynamic activations.

    Embeddings are quantised, too: they hold most of a small student's bytes. Weights use 7 of
    their 8 bits, so that sums cannot overflow on processors without VNNI, and the score that was
    measured here holds there.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_is_serious)  # it recommends a step that changes nothing here
    try:
        with computing(torch.device("cpu")):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
    finally:
        logging.getLogger().removeFilter(_is_serious)


def _check_drop(
    name: str | None, before: dict[str, float], after: dict[str, float], max_drop: float
) -> None:
    if name and after[name] < before[name] - max_drop:
        raise KdnasError(
            f"int8 lowers {name} from {before[name]:.4f} to {after[name]:.4f}, more than "
            f"--max-drop {max_drop:g}; nothing was exported (--format onnx keeps the score)"
        )


def _teacher_entries(teacher: Teacher, names: Sequence[str], score: Scorer) -> list[Entry]:
    """The teacher in PyTorch and in ONNX Runtime."""
    say("teacher: PyTorch to ONNX")
    with TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(teacher.model, path, names)
        session = Session(path)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    scores = [score(m) if teacher.has_head else {} for m in (teacher.model, session)]
    # Four bytes a weight: a checkpoint's own files may be of any precision and format.
    weights = 4 * count_params(teacher.model)
    return [
        Entry("teacher", "PyTorch", InTorch(teacher.model), weights, scores[0]),
        Entry("teacher", "ONNX", session, size, scores[1]),
    ]


def _is_serious(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
