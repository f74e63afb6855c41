"""Steps 1 to 3: the teacher and its data, the space, the signal."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact
from kdnas.files.curves import Curves, Record
from kdnas.files.locks import file_lock
from kdnas.recipes.run_data import RunData, prepare_data
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import start_runtime
from kdnas.scoring.evaluator import Evaluator
from kdnas.scoring.mini_kd import MiniKD, states_for
from kdnas.scoring.proxy import Proxy, split_heldout
from kdnas.space import SearchSpace
from kdnas.tasks import load_data, load_spec
from kdnas.teachers.cache import fingerprint
from kdnas.teachers.fine_tune import fine_tune_teacher, open_or_build_store
from kdnas.teachers.load import (
    Teacher,
    head_of_another_task,
    load_config,
    load_teacher,
    load_tokenizer,
    teacher_source,
    with_fresh_head,
)


class Prepared:
    """What every step needs, each made once, when it is first asked for.

    Args:
        run: The run folder and its settings.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.settings = run.settings
        settings = run.settings
        self.runtime = start_runtime(
            device=settings.device, precision=settings.precision, threads=settings.threads
        )

    @property
    def record(self) -> Record:
        """Keeps the curves of trainings in the run folder."""
        return Curves(self.run.folder).record

    # Step 1: the teacher and its data.

    @cached_property
    def data(self) -> RunData:
        """The task and the corpus, encoded for the teacher."""
        settings = self.settings
        source = teacher_source(settings.teacher)
        config, tokenizer = load_config(source), load_tokenizer(source)
        spec = load_spec(settings.task or "rotten-tomatoes", settings.tasks)
        task = load_data(spec, settings.data_dir)
        return prepare_data(task, settings, tokenizer, config)

    @property
    def _tuned(self) -> Path | None:
        """The folder of the fine-tuned teacher, where there is one."""
        folder = self.run.folder / "teacher"
        return folder if (folder / "config.json").exists() else None

    @cached_property
    def _untuned(self) -> Teacher:
        source = teacher_source(self.settings.teacher)
        return load_teacher(source, self.data.spec, self.settings.seed)

    def check_teacher(self) -> None:
        """Refuses a teacher that cannot be used.

        Raises:
            KdnasError: It cannot be loaded, or read what its tokenizer gives.
        """
        if not self._tuned:
            _ = self._untuned

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, fine-tuned on the task unless it is not to be or knows it already."""
        data, folder = self.data, self.run.folder / "teacher"
        source = teacher_source(self.settings.teacher)
        # A worker that joins meanwhile waits for the teacher rather than train another.
        lock = self.run.folder / ".teacher.lock"
        with file_lock(lock, "another process prepares the teacher of this run"):
            tuned = self._tuned  # asked anew: another process may have made it meanwhile
            teacher = load_teacher(str(tuned), data.spec) if tuned else self._untuned
            if not tuned:
                self.fingerprint_step.get(lambda: self._fingerprint(teacher))
                teacher = self._knowing_this_task(teacher)
            if not (teacher.has_head or self.settings.teacher_as_is):
                say(f"fine-tuning the teacher on {len(data.train)} examples")
                with self.run.timed("teacher"):
                    fine_tune_teacher(teacher, data.train, self.settings, self.runtime, folder)
        teacher.name = source
        teacher.model.to(self.runtime.device)  # type: ignore[arg-type]
        return teacher

    def _knowing_this_task(self, teacher: Teacher) -> Teacher:
        """The teacher, without its head where that is of another task with as many classes."""
        if not teacher.has_head or self.settings.teacher_as_is:
            return teacher
        outputs = head_of_another_task(load_config(teacher.name), self.data.spec)
        if outputs is None:
            return teacher
        labels = ", ".join(self.data.spec.labels or ())
        say(
            f"the teacher's head tells {outputs}; this task wants {labels}: it gets a new one "
            "(--teacher-as-is takes the old one, class by class)"
        )
        return with_fresh_head(teacher, self.settings.seed)

    def check_same_data(self) -> None:
        """Refuses to go on with other data than the run began with.

        Raises:
            KdnasError: They have changed since.
        """
        data = self.data
        now = {"train": data.train, "distillation": data.distillation, **data.evaluation}
        found = {name: examples.fingerprint() for name, examples in now.items()}
        before = self.run.step("data", {}).get(lambda: found)
        for name, content in found.items():
            if before.get(name, content) != content:
                raise KdnasError(
                    f"the {name} data changed since {self.run.folder} began; put the old files "
                    "back, or start another run with --out"
                )

    @property
    def fingerprint_step(self) -> Artifact[str]:
        """The fingerprint of the teacher before its fine-tuning, and of its data."""
        return self.run.step("fingerprint", {"teacher": teacher_source(self.settings.teacher)})

    def _fingerprint(self, teacher: Teacher) -> str:
        return fingerprint(teacher, self.data.train, self.data.distillation)

    # Step 2: the space.

    @cached_property
    def space(self) -> SearchSpace:
        """The students to choose from."""
        source = teacher_source(self.settings.teacher)
        return SearchSpace.from_teacher(load_config(source), source, self.settings.space)

    # Step 3: the signal.

    @cached_property
    def mini(self) -> MiniKD:
        """Mini-KD on the proxy, with the teacher's signal for it."""
        settings, data, teacher = self.settings, self.data, self.teacher
        proxy = data.distillation.take(data.proxy)
        states = states_for(self.space, teacher, settings)
        with self.run.timed("signal"):
            store = open_or_build_store(teacher, proxy, states, self.runtime)
        training, heldout = split_heldout(proxy, settings.heldout_fraction, settings.seed)
        seen = Proxy(proxy, store, training, heldout)
        return MiniKD(teacher, seen, settings, self.runtime, self.record)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Scores candidates."""
        return Evaluator(self.mini, self.settings)
