"""kdnas export: one folder with a student in the formats asked for, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from kdnas.config import Settings, nearest
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import evaluate_model, evaluate_session
from kdnas.exporting.onnx import FILES, Student, export_onnx
from kdnas.exporting.push import check_login, push
from kdnas.exporting.readme import append_readme
from kdnas.files.artifact import MANIFEST
from kdnas.files.atomic import replace_folder, write_json
from kdnas.measure.onnx import Session, require_onnx
from kdnas.recipes.run_data import encode_evaluation, input_length
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import start_runtime
from kdnas.students.checkpoint import CARD, finished_student, load_checked
from kdnas.tasks import DEFAULT_TASK, EncodedExamples, TaskSpec, load_data, load_spec, task_type_of
from kdnas.tasks.encode import padding_id
from kdnas.teachers.load import Teacher, load_teacher, longest_input, teacher_source

# torch: the plain checkpoint; the others are files that ONNX Runtime reads.
FORMATS = ("torch", *FILES)
SUMMARY = "export.json"
MAX_DROP = 0.01
# (batch, length) timed beside the run's own: a server's load.
THROUGHPUT = (32, 64)


@dataclass(frozen=True)
class Exam:
    """What a run's students are scored on: its task, and labelled examples by split."""

    spec: TaskSpec
    splits: dict[str, EncodedExamples]


def export(
    run: Run | Path | str,
    formats: str | Iterable[str] = ("torch",),
    *,
    trial: int | None = None,
    out: Path | str | None = None,
    max_drop: float = MAX_DROP,
    timing: bool = True,
    push_to_hub: str | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Exports a run's student: as a checkpoint, for ONNX Runtime, to the hub.

    Nothing is written unless the student's files are undamaged. ONNX files are checked against
    PyTorch, scored on the task and timed beside the teacher.

    Args:
        run: A finished run or its folder.
        formats: `torch`, `onnx`, `int8`.
        trial: Whose student, of those that `kdnas distill` made; None for the winner.
        out: The folder to write; default: `export` beside the student, and none where only
            `torch` is pushed.
        max_drop: How much of the main score int8 may lose.
        timing: Whether ONNX files are timed.
        push_to_hub: A repository, `user/name`, to upload to.
        private: Whether a new repository is private.

    Returns:
        `folder` where one was written, with the content of its export.json, and `pushed`, the
        repository's address.

    Raises:
        KdnasError: The student is missing or damaged, `out` is not empty, ONNX Runtime is
            missing, an ONNX file differs from PyTorch, int8 loses too much, or the hub refuses.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    wanted = read_formats([formats] if isinstance(formats, str) else formats)
    source = finished_student(run.folder, trial)
    files = [name for name in wanted if name in FILES]
    target = Path(out or source.with_name("export")) if out or files or not push_to_hub else None
    if target and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise KdnasError(f"{target} is not empty; choose another --out")
    if files:
        require_onnx(f"--format {','.join(files)}")
    if push_to_hub:
        if not (source / CARD).exists():
            raise KdnasError(
                f"{source} has no model card yet; finish the run: `kdnas resume {run.folder}`"
            )
        check_login(push_to_hub)
    model, tokenizer = load_checked(run.folder, trial)
    result: dict[str, Any] = {}
    if target:
        with replace_folder(target) as partial:
            weights = () if "torch" in wanted else ("*.safetensors*", MANIFEST)
            left_out = shutil.ignore_patterns(*weights)
            shutil.copytree(source, partial, dirs_exist_ok=True, ignore=left_out)
            if files:
                size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
                longest = min(longest_input(model.config), int(tokenizer.model_max_length))
                student = Student(model, tokenizer, size, longest)
                found = _onnx_files(run, student, partial, files, max_drop, timing)
                result = {"trial": trial, "formats": list(wanted), **found}
                write_json(partial / SUMMARY, result)
                append_readme(partial, result, whole="torch" in wanted)
        result = {"folder": str(target), **result}
    if push_to_hub:
        result["pushed"] = push(target or source, push_to_hub, private)
    return result


def read_formats(given: Iterable[str]) -> tuple[str, ...]:
    """The formats named, each once; one word may hold several between commas.

    Raises:
        KdnasError: One is unknown.
    """
    names = [name.strip() for word in given for name in word.split(",")]
    for name in names:
        if name not in FORMATS:
            raise KdnasError(f"invalid --format {name!r}{nearest(name, FORMATS)}")
    return tuple(name for name in FORMATS if name in names)


def _onnx_files(
    run: Run,
    student: Student,
    folder: Path,
    formats: Sequence[str],
    max_drop: float,
    timing: bool,
) -> dict[str, Any]:
    """The ONNX files, on the CPU in full precision with the run's threads."""
    settings, tokenizer = run.settings, student.tokenizer
    runtime = start_runtime(device="cpu", precision="fp32", threads=settings.threads)
    config = student.model.config
    kind, pad_id = task_type_of(config), padding_id(config, tokenizer)
    exam = _exam(settings, student)
    timed = (settings.latency_batch, settings.latency_length), THROUGHPUT

    def score(model: PreTrainedModel | Session) -> dict[str, float]:
        if exam is None:
            return {}
        if isinstance(model, Session):
            return evaluate_session(model, exam.splits, exam.spec, pad_id)
        return evaluate_model(model, exam.splits, exam.spec, runtime, pad_id)

    found = export_onnx(
        student,
        folder,
        formats,
        score=score,
        main_score=exam.spec.main_score if exam else None,
        max_drop=max_drop,
        teacher=_teacher(run, exam) if timing else None,
        points=[(batch, min(length, student.longest)) for batch, length in timed if timing],
        quiet=settings.latency_quiet,
    )
    found["environment"] = {**runtime.describe(), **found["environment"]}
    return {
        **found,
        "pad_token": [tokenizer.convert_ids_to_tokens(pad_id), pad_id],
        "longest": min(student.longest, settings.max_length),
        "task_type": kind.name,
        "labels": kind.output_names(config),
    }


def _exam(settings: Settings, student: Student) -> Exam | None:
    """The task's evaluation splits; None, with a notice, where they cannot be read."""
    try:
        spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
        task = load_data(spec, settings.data_dir, splits=spec.evaluation, optional=())
        length = input_length(settings, student.tokenizer, student.model.config)
        return Exam(task.spec, encode_evaluation(task, student.tokenizer, length))
    except KdnasError as error:
        say(f"no scores: {error}")
        return None


def _teacher(run: Run, exam: Exam | None) -> Teacher | None:
    """The run's teacher; None, with a notice, where it cannot be loaded."""
    tuned = run.folder / "teacher"
    try:
        known = (tuned / "config.json").exists()
        source = str(tuned) if known else teacher_source(run.settings.teacher)
        return load_teacher(source, exam.spec if exam else None)
    except KdnasError as error:
        say(f"no teacher beside it: {error}")
        return None
