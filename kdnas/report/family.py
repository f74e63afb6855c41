"""A family of pruned students: what each is, and the tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdnas.files.artifact import content_of
from kdnas.files.atomic import read_json
from kdnas.report.model import Member, Report
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import as_interval, as_score, in_millions, table_lines

TITLE = "The family"
TOLD = (
    "Pruned students of rising speed-ups, each pruned from the one before it and trained. "
    "{}: the sliced student beside its teacher, timed in turns by the run. ONNX and int8: the "
    "file that kdnas export wrote beside the teacher's ONNX file; a dash where there is none yet. "
    "Multiply-accumulates and parameters are those of the sliced form; model.safetensors has the "
    "teacher's size and, in plain transformers, its speed."
)
CAPTION = "A row a student{}."
WITH_CONTROLS = ", with the main score of its controls"
NONE = "-"
# What kdnas export times, as export.json calls it, and beside what: a black box cannot be.
FILES, BESIDE = ("ONNX", "int8"), ("teacher", "student base")


def family_of(reports: Mapping[str, Report]) -> list[Member]:
    """The students of a family, from their reports by folder."""
    return [_member(folder, report) for folder, report in reports.items()]


def _member(folder: str, report: Report) -> Member:
    student, metric, pruned = report.student, report.main_score, report.student.pruned
    return Member(
        asked=report.speedup_wanted or report.speedup,
        name=student.name,
        speedup=report.speedup,
        macs=student.macs,
        params=student.params,
        params_without_embeddings=None
        if pruned is None
        else pruned.params_without_embeddings["sliced"],
        scores=student.scores,
        interval=student.intervals.get(metric),
        kept=report.kept,
        controls={
            name: model.scores[metric]
            for name, model in report.models
            if model is not student and metric in model.scores
        },
        folder=folder,
    )


def with_exports(members: Sequence[Member], run: Path, point: tuple[int, int]) -> list[Member]:
    """The students of a family, with the speed-ups of files that were exported since.

    Args:
        members: The students.
        run: Where their folders are.
        point: Batch and length of their own speed-ups, in tokens; files timed at no such point
            have none.
    """
    return [
        one.model_copy(update={"exported": _exported(run / one.folder, point)}) for one in members
    ]


def _exported(home: Path, point: tuple[int, int]) -> dict[str, float]:
    """How many times as fast as the teacher's ONNX file each file of the student in `home` is.

    Files of an earlier student there have no say.
    """
    told = read_json(home / "export" / "export.json") or {}
    now = content_of(home / "student")
    if told.get("student", now) != now:
        return {}
    times = {
        (one["model"], one["runtime"]): at["ms"]
        for one in told.get("models", ())
        for at in one["latency"]
        if (at["batch"], at["length"]) == point
    }
    beside = next((times[who, "ONNX"] for who in BESIDE if (who, "ONNX") in times), None)
    found = {name: times.get(("student", name)) for name in FILES}
    return {name: beside / ms for name, ms in found.items() if beside and ms}


def family_section(report: Report | None) -> Section | None:
    """The table of a page; None where the student is no family's."""
    if report is None or not report.family:
        return None
    head, rows = family_table(report)
    has_controls = any(one.controls for one in report.family)
    caption = CAPTION.format(WITH_CONTROLS if has_controls else "")
    told = TOLD.format(report.environment.runtime_words)
    return Section("family", TITLE, told, table=Table(head, rows, open=True, caption=caption))


def family_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table that pages and cards have."""
    metric, members = report.main_score, report.family
    controls = list(dict.fromkeys(name for one in members for name in one.controls))
    sizes = ["multiply-accumulates", "parameters", "without embeddings"]
    timed = report.environment.runtime_words
    head = ["asked", "student", timed, *FILES, *sizes, metric, "kept", *controls, "folder"]
    return head, [_row(one, metric, controls) for one in members]


def _row(one: Member, metric: str, controls: Sequence[str]) -> list[str]:
    sizes = (one.macs, one.params, one.params_without_embeddings)
    return [
        _asked(one),
        one.name,
        f"{one.speedup:.2f}x",
        *(f"{one.exported[name]:.2f}x" if name in one.exported else NONE for name in FILES),
        *(NONE if size is None else in_millions(size) for size in sizes),
        _with_interval(one.scores.get(metric), one.interval),
        NONE if one.kept is None else _with_interval(one.kept.share, one.kept.interval),
        *(as_score(one.controls[name]) if name in one.controls else NONE for name in controls),
        one.folder,
    ]


def _asked(one: Member) -> str:
    """The speed-up asked for; that it was missed, where the student is slower in the end."""
    return f"{one.asked:g}x" + (", missed" if one.speedup < one.asked else "")


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return NONE
    return as_score(value) + (f" ({as_interval(interval)})" if interval else "")


def family_lines(report: Report) -> list[str]:
    """For the terminal: a line a student; speeds are those of the sliced form."""
    metric = report.main_score
    rows = [
        (
            _asked(one),
            f"{one.speedup:.2f}x",
            f"{one.exported['ONNX']:.2f}x" if "ONNX" in one.exported else NONE,
            in_millions(one.params),
            as_score(one.scores[metric]) if metric in one.scores else NONE,
            NONE if one.kept is None else f"{one.kept.share:.1%}",
            one.folder,
        )
        for one in report.family
    ]
    timed = report.environment.runtime_words
    head = ("asked", timed, "ONNX", "size", metric, "kept", "in")
    first = max(8, *(len(row[0]) for row in rows)) if rows else None
    return ["", *table_lines(head, rows, first=first)] if rows else []
