"""The run folder: settings, log, the results of finished steps, and who may write."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from kdnas.config import Settings, load_settings, storage_url
from kdnas.config.assistants import assistants_in, is_checkpoint
from kdnas.config.groups import CHANGEABLE, OF_FULL_KD, OF_SCORING, OF_THE_TEACHER
from kdnas.config.names import split
from kdnas.config.read import read_yaml
from kdnas.config.recipe_name import RecipeName
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact, json_artifact
from kdnas.files.atomic import append_line, check_writable, make_writable, write_text
from kdnas.files.disk import existing
from kdnas.files.lines import is_finite, json_lines
from kdnas.files.locks import file_lock
from kdnas.runtime import console
from kdnas.runtime.shown import redact

LOG = "log.jsonl"
# Where runs are made that are given no folder, below the one that a command is called in.
RUNS = Path("runs")
# Below a run folder: the students of a family but the last, each with its report.
FAMILY = "family"
# Settings that may be a path or a name on the hub.
MODELS_AND_TEXTS = ("teacher", "student_base", "general_teacher", "corpus")
# The folder of a worker says which study it joined.
JOINED = "joined.json"
# All that is in a folder before anything is computed.
OURS = {"config.yaml", JOINED, ".lock", ".teacher.lock", storage_url.FILE}


class Run:
    """A run folder, and the settings in its config.yaml.

    Attributes:
        folder: What holds its files.
        place: The same; of a run that is only planned, where it would be.
        settings: Every option.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = self.place = folder
        self.settings = settings
        self._begun_here = False  # whether this process began the run
        self._made_here: Sequence[Path] = ()  # its folder and those above it, where this made them

    @classmethod
    def create(
        cls, settings: Settings, *, planned: bool = False, free: Collection[str] = CHANGEABLE
    ) -> Run:
        """Starts a run in a new or empty folder, or continues the same run.

        Where no data are named, KDNAS_DATA_DIR names those of a new one alone.

        Args:
            settings: Of the run, which has a folder by them.
            planned: Whether a new one is in a temporary folder, until it is forgotten.
            free: Names of settings in which one that is there may differ.

        Raises:
            KdnasError: The folder cannot be written, or holds another run or other files.
        """
        named, settings = settings.data_dir, resolve(settings)
        assert settings.out is not None
        folder = settings.out
        run = cls(folder, _without_password(settings))
        if not planned and not (folder / "config.yaml").exists():
            run._made_here = [path for path in (folder, *folder.parents) if not path.exists()]
            make_writable(folder)
        files = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
        if "config.yaml" in files:
            own = cls.open(folder).settings
            if named is None and settings.data_dir:  # the variable's
                run.settings = run.settings.model_copy(update={"data_dir": own.data_dir})
            _refuse_another(run.settings, own, folder, free)
        elif others := sorted(files - {".lock"}):
            raise KdnasError(
                f"{folder} is not empty and holds no kdnas run (it has {others[0]!r}); choose "
                "another --out"
            )
        else:
            if planned:
                check_writable(existing(folder))
                run.folder = Path(tempfile.mkdtemp(prefix="kdnas-plan-"))
                run.settings = _lying_in(run.folder, run.settings)
                run._made_here = [run.folder]
            run._begun_here = True
            run.save()
        storage_url.keep_password(settings.storage, run.folder)
        return run

    @classmethod
    def open(cls, folder: Path, files: Sequence[Path] = (), **changes: Any) -> Run:
        """Opens an existing run, with changes to its settings that `save` keeps.

        Its `out` is where it lies, also where it was moved.

        Args:
            folder: The run folder.
            files: YAML files with changes.
            changes: Settings by name; None changes nothing.

        Raises:
            KdnasError: The folder holds no run, or a change is out of range or comes too late.
        """
        if not folder.exists():
            raise KdnasError(
                f"the run folder {folder} does not exist; start a run with kdnas search"
            )
        if not (folder / "config.yaml").exists():
            raise KdnasError(
                f"{folder} holds no kdnas run (no config.yaml); start one with kdnas search"
            )
        known = read_yaml(folder / "config.yaml")
        if not known:
            raise KdnasError(
                f"{folder}/config.yaml is empty; put back the settings that the run began with"
            )
        given = {k: v for k, v in changes.items() if v is not None}
        found = load_settings(files, given, folder / "config.yaml")
        if files or given:
            _refuse_fixed(found, load_settings((), {}, folder / "config.yaml"), folder)
        if "more_epochs" not in {**known, **given}:  # begun before there was such an option
            found = found.model_copy(update={"more_epochs": False})
        found = _lying_in(folder, found)
        run = cls(folder, _without_password(found))
        storage_url.keep_password(found.storage, folder)
        if run.settings != found:
            run.save()
        return run

    def save(self) -> None:
        """Writes the settings to config.yaml."""
        write_text(self.folder / "config.yaml", dump(self.settings))

    @contextmanager
    def forgotten_if_refused(self) -> Iterator[None]:
        """Removes a run that this process began, if its input is refused before any computation."""
        try:
            yield
        except KdnasError:
            self._forget()
            raise

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Removes a run that this process began, unless something was computed."""
        try:
            yield
        finally:
            self._forget()

    def _forget(self) -> None:
        if not self._begun_here:
            return
        # Another process that joined it meanwhile holds it and continues.
        with suppress(KdnasError, OSError), self.alone():
            files = list(self.folder.iterdir())
            if {path.name for path in files} <= OURS:
                for path in files:
                    path.unlink()
                for folder in self._made_here:  # as far as others have put nothing there
                    folder.rmdir()

    def log(self, event: str, **fields: Any) -> None:
        """Appends one line to log.jsonl."""
        line = {"time": round(time.time(), 3), "event": event, **fields}
        append_line(self.folder / LOG, redact(json.dumps(line)))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the run for this process.

        Raises:
            KdnasError: Another process holds it, or its folder cannot be written.
        """
        check_writable(self.folder)
        what = f"another process works on {self.folder}"
        instead = f"join it with `kdnas worker {self.folder}`"
        refusal = f"{what}; {instead if self.settings.searches else 'wait until it is done'}"
        with file_lock(self.folder / ".lock", what, 0, refusal):
            yield

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """As `alone`, for who only reads: a folder that cannot be written needs no lock."""
        with self.alone() if os.access(self.folder, os.W_OK) else nullcontext():
            yield

    def step(self, name: str, key: Mapping[str, Any]) -> Artifact[Any]:
        """The JSON result of a step, in `steps/NAME.json`; `key` is all that decides it."""
        return json_artifact(self.folder / "steps" / f"{name.replace(' ', '-')}.json", key)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Logs how long a step took, and whether it failed. Also a decorator."""
        start = time.perf_counter()

        def log_end(**fields: Any) -> None:
            self.log("end", step=step, seconds=round(time.perf_counter() - start, 2), **fields)

        self.log("start", step=step)
        try:
            with console.step(step):
                yield
        except BaseException:
            with suppress(KdnasError, OSError):  # a full disk: the step's own error says more
                log_end(failed=True)
            raise
        log_end()

    def seconds(self) -> dict[str, float]:
        """Seconds by step, summed over all attempts."""
        total: Counter[str] = Counter()
        for line in self.events("end", step=str, seconds=float):
            total[line["step"]] += line["seconds"]
        return {step: round(seconds, 2) for step, seconds in total.items()}

    def events(self, name: str | None = None, **fields: type) -> Iterator[dict[str, Any]]:
        """The events in the log, or those of a name that have some fields of some types.

        Lines that a crash cut short, or that other hands wrote, are left out.
        """
        for line in json_lines(self.folder / LOG):
            whole = all(_is_a(line.get(key), kind) for key, kind in fields.items())
            if whole and name in (None, line.get("event")):
                yield line


def resolve(settings: Settings) -> Settings:
    """What a command begins with: absolute paths, and KDNAS_DATA_DIR where no data are named."""
    data_dir = settings.data_dir or os.environ.get("KDNAS_DATA_DIR")
    return with_absolute_paths(
        settings.model_copy(update={"data_dir": Path(data_dir) if data_dir else None})
    )


def with_absolute_paths(settings: Settings) -> Settings:
    """Settings that mean the same from any folder and in any shell."""
    data_dir, task = settings.data_dir, settings.task
    said = settings.teacher_predictions
    named = said.name.partition(".")[0] if said else settings.teacher
    teacher_name = Path(named).name if named else "minilm"
    task_name = Path(task).stem if task else "rotten-tomatoes"
    given = settings.architecture or (None if settings.searches else settings.pruned)
    parts = filter(None, (teacher_name, task_name, given))
    out = settings.out or RUNS / "-".join(parts)
    runs = (_absolute(name) or name for name in split(settings.learn_from or ""))
    earlier = dict.fromkeys(runs)  # each counts once
    changes = {
        **{k: _absolute(getattr(settings, k)) for k in MODELS_AND_TEXTS},
        "task": _absolute_file(settings.task),
        "recipe": _absolute_recipe(settings.recipe),
        "learn_from": ",".join(earlier) or None,
        "assistants": absolute_assistants(settings.assistants),
        "storage": storage_url.absolute(settings.storage) if settings.storage else None,
        "data_dir": data_dir.expanduser().resolve() if data_dir else None,
        "teacher_predictions": said.expanduser().resolve() if said else None,
        "out": out.expanduser().resolve(),
    }
    return settings.model_copy(update=changes)


def dump(settings: Settings) -> str:
    """Settings as YAML."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _lying_in(folder: Path, settings: Settings) -> Settings:
    """The settings of a run in a folder, which may have been moved."""
    return settings.model_copy(update={"out": folder.resolve()})


def _without_password(settings: Settings) -> Settings:
    storage = settings.storage and storage_url.remove_password(settings.storage)
    return settings.model_copy(update={"storage": storage})


def _is_a(value: Any, kind: type) -> bool:
    return is_finite(value) if kind is float else isinstance(value, kind)


def _absolute(name: str | None) -> str | None:
    """A path where there is such a file or folder; a hub's name stays."""
    path = Path(name or "").expanduser()
    return str(path.resolve()) if name and path.exists() else name


def absolute_assistants(text: str | None) -> str | None:
    """A list of assistants whose checkpoints have absolute paths."""
    return text and ",".join(
        str(_absolute(word)) if is_checkpoint(word) else word for word in assistants_in(text)
    )


def _absolute_file(name: str | None) -> str | None:
    """The path of a YAML file; another name stays, also where there is a folder of that name."""
    return _absolute(name) if name and name.endswith((".yaml", ".yml")) else name


def _absolute_recipe(word: str) -> str:
    """The name of a recipe, that of a file by its absolute path."""
    name = RecipeName.read(word)
    return str(replace(name, base=str(_absolute_file(name.base))))


def _refuse_another(ours: Settings, theirs: Settings, folder: Path, free: Collection[str]) -> None:
    for name in Settings.model_fields:
        new, old = getattr(ours, name), getattr(theirs, name)
        # The folder may have been moved.
        if name not in (*free, "out") and new != old:
            what = f"--{name.replace('_', '-')} {difference(old, new)}"
            what = "recipe has other stages" if name == "stages" else what
            what = "recipes on offer are others" if name == "offered" else what
            kind = "study" if theirs.searches else "run"
            # What a run may go on with until what it decides is made.
            number = isinstance(new, int | float) and not isinstance(new, bool)
            may = number and name in {*OF_FULL_KD, *OF_THE_TEACHER, *OF_SCORING}
            again = f"resume {folder}" + (f" --{name.replace('_', '-')} {new:g}" if may else "")
            again = f"worker {folder}" if (folder / JOINED).exists() else again
            raise KdnasError(
                f"{folder} holds another {kind}: its {what}; choose another --out, or continue "
                f"with `kdnas {again}`"
            )


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run's that has begun: others may have a config.yaml, too."""
    return all((folder / name).exists() for name in ("config.yaml", LOG))


def _refuse_fixed(ours: Settings, theirs: Settings, folder: Path) -> None:
    """Refuses a change that would make another run of it."""
    # The folder may have been moved, and where a study is read from may hold a password.
    free = {*CHANGEABLE, *OF_FULL_KD, *OF_THE_TEACHER, *OF_SCORING, "out", "storage"}
    resolved = with_absolute_paths(ours)
    by = "" if ours.recipe == theirs.recipe else f" (recipe {ours.recipe!r})"
    for name in Settings.model_fields:
        if name in free:
            continue
        old = getattr(theirs, name)
        if old not in (new := getattr(ours, name), getattr(resolved, name)):
            raise KdnasError(
                f"{folder} was begun with --{name.replace('_', '-')} {old}; it cannot go on with "
                f"{new}{by}; start another run with --out"
            )


def difference(theirs: Any, ours: Any) -> str:
    """How a setting differs between a run or a study and what the user gave."""
    old, new = (str(value) if isinstance(value, Path) else repr(value) for value in (theirs, ours))
    if ours is None:
        return f"is {old}; you gave none"
    return f"is {old}, not {new}" if theirs is not None else f"is not set; you gave {new}"
