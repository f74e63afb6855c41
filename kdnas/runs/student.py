"""Where a run's students are."""

from __future__ import annotations

from pathlib import Path

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.artifact import content_of, key_of
from kdnas.files.atomic import read_json
from kdnas.runs.run_folder import FAMILY
from kdnas.runtime.console import say
from kdnas.runtime.shown import shown

# Below the folder of a report, where the student of a search is while another ships.
ASIDE = Path("controls") / "searched"


def finished_student(run: Path, trial: int | None = None, place: str | None = None) -> Path:
    """The folder of a run's saved student: what ships, or that of a trial, its own or another.

    `place` names that of another report of the run, such as `family/2x`.

    Raises:
        KdnasError: There is none yet, or both trial and place are given.
    """
    if place is not None:
        return _student_at(run, trial, place)
    student = run / "student" if trial is None else _of_trial(run, trial)
    if not student.is_dir():
        raise KdnasError(f"{student} does not exist yet; make it with {command_for(run, trial)}")
    return student


def places_of_trial(run: Path, trial: int) -> list[Path]:
    """Where the student of a search's trial may be: beside the run's own one, or as that one."""
    return [run / "students" / f"trial-{trial}" / "student", *own_places(run)]


def own_places(home: Path) -> list[Path]:
    """Where the student that a report of a search is about may be: it ships, or another does."""
    return [home / "student", home / ASIDE]


def own_student(home: Path, trial: int) -> Path | None:
    """The folder of a trial's student, trained with whatever seed; None where there is none.

    `home` is the folder of its report.
    """
    return next((at for at in own_places(home) if _is_of(at, trial)), None)


def is_reported(student: Path) -> bool:
    """Whether the report beside a checkpoint is about it, and so a model card in its folder is.

    A student that was moved, or trained anew, may have the card of an earlier report. Reports that
    do not say which checkpoint they are about are about that beside them.
    """
    report = read_json(student.with_name("report.json"))
    if not isinstance(report, dict):
        return False
    about = report.get("student")
    content = about.get("content") if isinstance(about, dict) else None
    return content is None or content == content_of(student)


def report_of_pruned(settings: Settings, speedup: float) -> Path:
    """Below a run, the folder of a pruned student's report: the run's own of the last one asked."""
    several = settings.speedups
    if not several or speedup == several[-1]:
        return Path()
    return Path(FAMILY) / f"{speedup:g}x"


def tell_unfinished(run: Path) -> None:
    """Says so where a run has no report yet: what is its student now may not be in the end."""
    if not (run / "report.json").exists():
        say(f"{shown(run)} is not finished: another student may ship in the end")


def command_for(run: Path, trial: int | None) -> str:
    """The command that makes a student."""
    if trial is None:
        return f"`kdnas resume {run}`"
    return f"`kdnas distill {run} --trial {trial}`"


def _of_trial(run: Path, trial: int) -> Path:
    """The folder of a trial's student; where none is there, the one that it would be made in."""
    beside = places_of_trial(run, trial)[0]
    return beside if beside.is_dir() else own_student(run, trial) or beside


def _is_of(student: Path, trial: int) -> bool:
    """Whether a checkpoint is that of a search's trial; a control is of none."""
    key = key_of(student) or {}
    return key.get("method") == "distilled" and key.get("trial") == trial


def _student_at(run: Path, trial: int | None, place: str) -> Path:
    if trial is not None:
        raise KdnasError("--trial and --student contradict each other: give one of them")
    student = run / place / "student"
    if not student.is_dir():
        reports = run.glob("*/*/report.json")
        known = sorted(at.parent.relative_to(run).as_posix() for at in reports)
        others = f"known: {', '.join(known)}" if known else "this run has its own alone"
        raise KdnasError(f"invalid --student {shown(place)}: {run} has no student there; {others}")
    return student
