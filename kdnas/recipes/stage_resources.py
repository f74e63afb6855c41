"""Where the stages of a recipe find their teachers and their data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from kdnas.config.stages import Stage
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.training import predict
from kdnas.recipes.run_data import RunData
from kdnas.recipes.transfer.sources import Material
from kdnas.recipes.transfer.transfer_set import (
    FILE,
    OWN,
    SHARES,
    TransferSet,
    as_rows_like,
    check_ways,
    make_transfer_set,
    rows_of,
)
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, Examples, encode, load_data, load_spec
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.inputs import check_inputs
from kdnas.teachers.load import Teacher, load_teacher, teacher_source
from kdnas.teachers.store import StoredSignal


class StageResources:
    """A run's teachers and data; what several stages need is made once, when it is asked for.

    Args:
        run: The run.
        data: Its data.
        task_teacher: Gives the teacher that knows the task.
        runtime: Device and precision.
    """

    def __init__(
        self, run: Run, data: RunData, task_teacher: Callable[[], Teacher], runtime: Runtime
    ) -> None:
        self.run = run
        self.settings = run.settings
        self.data = data
        self.task_teacher = task_teacher
        self.runtime = runtime

    def check(self) -> None:
        """Refuses what the transfer set cannot be made of, before anything is computed.

        Raises:
            KdnasError: Another task's rows cannot be read or do not fit, or a way that was asked
                for cannot be gone.
        """
        if any(stage.data == "transfer" for stage in self.settings.recipe):
            _ = self._other_tasks
            check_ways(self.settings.transfer_methods, self._material(None))

    def teacher(self, stage: Stage) -> Teacher:
        """Who teaches a stage."""
        return self.general_teacher if stage.is_general else self.task_teacher()

    def lesson(self, stage: Stage, wanted: OutputRequest) -> DistillationData:
        """A stage's data with the teacher's signal for them."""
        with self.run.timed(f"signal {stage.name}"):
            data, teacher = self._data(stage), self.teacher(stage)
            lesson = DistillationData.prepare(teacher, data, wanted, self.runtime)
        if stage.data == "transfer":
            self._keep_transfer(lesson)
        return lesson

    @cached_property
    def general_teacher(self) -> Teacher:
        """The teacher of general stages, as it was saved."""
        settings = self.settings
        teacher = load_teacher(teacher_source(settings.general_teacher or settings.teacher), None)
        teacher.model.to(self.runtime.device)  # type: ignore[arg-type]
        return teacher

    @cached_property
    def transfer(self) -> TransferSet:
        """The transfer set."""
        settings, own, teacher = self.settings, self.data.examples, self.task_teacher()
        with self.run.timed("transfer set"):
            made = make_transfer_set(
                own,
                self._other_tasks,
                self._material(teacher),
                settings.transfer_methods or SHARES,
                settings.transfer_rows,
                settings.seed,
                self.data.held_out,
            )
        say(f"transfer set: {len(made.ways)} rows, {made.ways.count(OWN)} of them the task's own")
        return made

    @cached_property
    def transfer_encoded(self) -> EncodedExamples:
        """The same, tokenised."""
        data = encode(self.transfer.examples, self.data.tokenizer, self.data.length)
        return check_inputs(data, self.data.tokenizer, self.task_teacher().model.config)

    def _material(self, teacher: Teacher | None) -> Material:
        """What new rows are made of; without a teacher no words near one another."""
        own = self.data.examples
        table = np.zeros((0, 0), np.float32)
        if teacher:
            table = teacher.model.get_input_embeddings().weight.detach().float().cpu().numpy()
        new = max(0, self.settings.transfer_rows - len(own))
        return Material(rows_of(own), self.data.tokenizer, table, self.data.corpus_texts, new)

    @cached_property
    def _other_tasks(self) -> dict[str, Examples]:
        """The training rows of the tasks whose texts the transfer set takes."""
        found = {}
        for name in self.settings.transfer_tasks:
            spec = load_spec(name, self.settings.tasks)
            data = load_data(spec, self.settings.data_dir, splits=("train",), optional=())
            rows = as_rows_like(self.data.examples, data.splits["train"], spec.name)
            found[spec.name] = rows
        return found

    def _keep_transfer(self, lesson: DistillationData) -> None:
        folder = self.run.folder
        if (folder / FILE).exists():
            return
        source, teacher = lesson.source, lesson.teacher
        logits = source.logits if isinstance(source, StoredSignal) else None
        if logits is None and teacher.has_head:
            logits = predict(teacher.model, lesson.data, self.runtime, pad_id=teacher.pad_id)
        self.transfer.write(folder, None if logits is None else logits.numpy(), lesson.data.units)

    def _data(self, stage: Stage) -> EncodedExamples:
        if stage.data == "transfer":
            return self.transfer_encoded
        if stage.data == "corpus":
            assert self.data.corpus is not None, "the settings were checked"
            return self.data.corpus
        # What mini-KD learnt on masked rows goes on with them.
        masked = self.settings.mask_probability and not stage.learns_task
        return self.data.distillation if masked and not self.data.corpus else self.data.train
