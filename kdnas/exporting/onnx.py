"""A student in ONNX Runtime: converted, checked against PyTorch, quantised, scored and timed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import evaluate_model
from kdnas.measure import InTorch, LatencySettings, count_params, take_turns
from kdnas.measure.onnx import PACKAGES, Session, input_names, to_onnx
from kdnas.measure.quiet import computing, how_measured
from kdnas.recipes.run_data import encode_evaluation, encode_options, input_length
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import start_runtime
from kdnas.students.pruning.facts import pruned_facts
from kdnas.tasks import DEFAULT_TASK, EncodedExamples, TaskSpec, load_data, load_spec, task_type_of
from kdnas.tasks.encode import padding_id
from kdnas.tasks.types import threshold_of
from kdnas.teachers.load import load_teacher, teacher_source
from kdnas.teachers.tokenizer import longest_input

# Where the hub's other tools look for such files, too.
FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
TOLERANCE = 1e-4
# (batch, length) of the inputs that are compared; the longest input, up to LONGEST, comes on top.
SHAPES = ((1, 1), (1, 8), (3, 2), (2, 33), (5, 64))
LONGEST = 512
QUANTISED = ("MatMul", "Gather")
# (batch, length) timed beside the run's own: a server's load.
THROUGHPUT = (32, 64)
# Passes of each model; fewer where one takes long.
REPEATS, FEW = 50, 7
MANY_TOKENS = 1024

Scores = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """A model to compare: `teacher` or `student`, in `PyTorch`, `ONNX` or `int8`.

    It has the bytes of its weights on disk, and its scores by metric, none where unknown.
    """

    who: str
    runtime: str
    model: PreTrainedModel | Session
    bytes: int
    scores: Scores


def export_onnx(
    run: Run,
    model: PreTrainedModel,
    tokenizer: Any,
    size: int,
    folder: Path,
    formats: Sequence[str],
    *,
    max_drop: float,
    timing: bool,
) -> dict[str, Any]:
    """Writes a student's ONNX files; works on the CPU in fp32 with the run's threads.

    Args:
        run: Its task scores the models; its teacher is compared beside the student.
        model: The student.
        tokenizer: The student's.
        size: Bytes of the student's weights on disk.
        folder: Of the export.
        formats: `onnx`, `int8` or both.
        max_drop: How much of the main score int8 may lose.
        timing: Whether the models are timed, beside the teacher.

    Returns:
        What was measured, as export.json holds it.

    Raises:
        KdnasError: The logits differ from PyTorch's, or int8 loses more than max_drop.
    """
    settings, config = run.settings, model.config
    runtime = start_runtime(device="cpu", precision="fp32", threads=settings.threads)
    kind, pad_id = task_type_of(config), padding_id(config, tokenizer)
    longest = min(longest_input(config), int(tokenizer.model_max_length))
    spec, score = _scoring(settings, tokenizer, config)
    plain, small = (folder / FILES[name] for name in ("onnx", "int8"))
    plain.parent.mkdir()
    say("student: PyTorch to ONNX")
    names = input_names(model, tokenizer)
    to_onnx(model, plain, names)
    session = Session(plain)
    difference = check_agreement(model, session, longest)
    before, main_score = score(model), spec.main_score if spec else None
    entries = [
        Entry("student", "PyTorch", model, size, before),
        Entry("student", "ONNX", session, plain.stat().st_size, score(session)),
    ]
    change: Scores = {}
    if "int8" in formats:
        say("student: int8")
        quantise(plain, small)
        session8 = Session(small)
        after = score(session8)
        if main_score and after[main_score] < before[main_score] - max_drop:
            raise KdnasError(
                f"int8 lowers {main_score} from {before[main_score]:.4f} to "
                f"{after[main_score]:.4f}, more than --max-drop {max_drop:g}; nothing was "
                "exported (--format onnx keeps the score)"
            )
        entries.append(Entry("student", "int8", session8, small.stat().st_size, after))
        change = {name: round(after[name] - before[name], 5) for name in before}
    points: list[tuple[int, int]] = []
    if timing:
        entries[:0] = _teacher_entries(run, spec, names)
        timed = (settings.latency_batch, settings.latency_length), THROUGHPUT
        points = [(batch, min(length, longest)) for batch, length in timed]
    compared = _compare(entries, points, settings.latency_quiet)
    if "onnx" not in formats:
        plain.unlink()
    return {
        "files": {name: FILES[name] for name in formats},
        "inputs": list(session.names),
        "largest_difference": difference,
        "int8_change": change,
        "max_drop": max_drop,
        "main_score": main_score,
        "models": compared,
        "pruned": pruned_facts(model, min(settings.latency_length, longest)),
        "environment": {
            **runtime.describe(),
            **{name: version(name) for name in PACKAGES},
            "latency_measured": how_measured(settings.latency_quiet),
        },
        "pad_token": [tokenizer.convert_ids_to_tokens(pad_id), pad_id],
        "longest": min(longest, settings.max_length),
        "task_type": kind.name,
        "labels": kind.output_names(config),
        "threshold": threshold_of(config),
    }


def check_agreement(model: PreTrainedModel, session: Session, longest: int) -> float:
    """The largest difference between their outputs, over batches, lengths up to longest, paddings.

    Raises KdnasError where it exceeds TOLERANCE.
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

    def serious(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logging.getLogger().addFilter(serious)  # it recommends a step that changes nothing here
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
        logging.getLogger().removeFilter(serious)


def _evaluation(
    settings: Settings, tokenizer: Any, config: Any
) -> tuple[TaskSpec | None, dict[str, EncodedExamples]]:
    """The run's task and its evaluation splits; None, with a notice, where they cannot be read."""
    try:
        spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
        task = load_data(
            spec,
            settings.data_dir,
            splits=spec.evaluation,
            optional=(),
            skip_malformed=settings.skip_malformed,
        )
        length = input_length(settings, tokenizer, config)
        options = encode_options(settings, task.spec, config)
        return task.spec, encode_evaluation(task, tokenizer, length, options)
    except KdnasError as error:
        say(f"no scores: {error}")
        return None, {}


def _scoring(
    settings: Settings, tokenizer: Any, config: Any
) -> tuple[TaskSpec | None, Callable[[PreTrainedModel | Session], Scores]]:
    """The run's task, and what scores a model on it, in fp32 and in tokens of its own."""
    spec, splits = _evaluation(settings, tokenizer, config)
    runtime = start_runtime(device="cpu", precision="fp32", threads=settings.threads)
    pad_id, own = padding_id(config, tokenizer), threshold_of(config)

    def score(scored: PreTrainedModel | Session) -> Scores:
        return evaluate_model(scored, splits, spec, runtime, pad_id, threshold=own) if spec else {}

    return spec, score


def _teacher_entries(run: Run, spec: TaskSpec | None, names: Sequence[str]) -> list[Entry]:
    """The run's teacher in PyTorch and in ONNX Runtime; none, with a notice, without a teacher.

    A black-box teacher's student base stands there instead, without scores.
    """
    tuned = run.folder / "teacher"
    recorded = run.settings.teacher_predictions is not None
    who = "student base" if recorded else "teacher"
    try:
        known = (tuned / "config.json").exists()
        teacher = load_teacher(str(tuned) if known else teacher_source(run.settings.base), spec)
    except KdnasError as error:
        say(f"no teacher beside it: {error}")
        return []
    say(f"{who}: PyTorch to ONNX")
    with TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(teacher.model, path, names)
        session = Session(path)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    knows = teacher.has_head and not recorded
    _, score = _scoring(run.settings, teacher.tokenizer, teacher.model.config)
    scores = [score(one) if knows else {} for one in (teacher.model, session)]
    # Four bytes a weight: a checkpoint's own files may be of any precision and format.
    weights = 4 * count_params(teacher.model)
    return [
        Entry(who, "PyTorch", teacher.model, weights, scores[0]),
        Entry(who, "ONNX", session, size, scores[1]),
    ]


def _compare(
    entries: Sequence[Entry], points: Iterable[tuple[int, int]], quiet: bool
) -> list[dict[str, Any]]:
    """The entries as export.json holds them, with latencies in ms, timed in turn.

    Speed-ups are against the first; `points` are (batch, length) to time at.
    """
    rows: list[dict[str, Any]] = [
        {
            "model": entry.who,
            "runtime": entry.runtime,
            "bytes": entry.bytes,
            "scores": {name: round(value, 5) for name, value in entry.scores.items()},
            "latency": [],
        }
        for entry in entries
    ]
    models = [e.model if isinstance(e.model, Session) else InTorch(e.model) for e in entries]
    for batch, length in sorted(set(points)):
        say(f"timing {len(entries)} models in turn: {batch} x {length} tokens")
        repeats = REPEATS if batch * length <= MANY_TOKENS else FEW
        times = take_turns(models, LatencySettings(batch, length, repeats, quiet))
        low, middle, high = np.percentile(times, [25, 50, 75], axis=1)
        at = {"batch": batch, "length": length, "repeats": repeats}
        for row, ms, iqr in zip(rows, middle, high - low, strict=True):
            found = {"ms": ms, "iqr_ms": iqr, "speedup": middle[0] / ms}
            row["latency"].append({**at, **{k: round(float(v), 3) for k, v in found.items()}})
    return rows
