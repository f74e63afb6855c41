"""The teachers and the rows that the stages of a recipe read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdnas.config import Settings
from kdnas.config.stages import Stage
from kdnas.distillation.training import predict
from kdnas.recipes.augmentations import Sources
from kdnas.recipes.run_data import RunData
from kdnas.recipes.stages import trains_head
from kdnas.recipes.transfer_set import (
    FILE,
    OWN,
    SHARES,
    TransferSet,
    as_rows_like,
    check_methods,
    make_transfer_set,
    rows_of,
)
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, Examples, encode, load_data, load_spec
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher, check_inputs, load_teacher, teacher_source
from kdnas.teachers.store import StoredSignal


@dataclass(frozen=True)
class StageResources:
    """What stages read; teachers are on the runtime's device.

    Attributes:
        general_teacher: Knows no task; None where no stage asks for it.
        task_rows: The task's training rows.
        masked_rows: The same, masked as mini-KD's.
        transfer: None where no stage reads it.
        transfer_rows: The same, tokenised.
    """

    task_teacher: Teacher
    general_teacher: Teacher | None
    task_rows: EncodedExamples
    masked_rows: EncodedExamples
    corpus: EncodedExamples | None = None
    transfer: TransferSet | None = None
    transfer_rows: EncodedExamples | None = None

    def teacher_of(self, stage: Stage) -> Teacher:
        """A stage's teacher."""
        teacher = self.general_teacher if stage.is_general else self.task_teacher
        assert teacher is not None, "resources are made for the recipe's stages"
        return teacher

    def rows_of(self, stage: Stage) -> EncodedExamples:
        """A stage's examples."""
        # Stages go on with the masked rows that mini-KD trained on, until labels are learnt.
        task_rows = self.task_rows if trains_head(stage) else self.masked_rows
        rows = {"task": task_rows, "corpus": self.corpus, "transfer": self.transfer_rows}
        found = rows[stage.data]
        assert found is not None, "the settings were checked"
        return found


def prepare_stage_resources(
    settings: Settings, run: Run, data: RunData, task_teacher: Teacher, runtime: Runtime
) -> StageResources:
    """Loads the general teacher and makes the transfer set where a stage of the recipe needs them.

    Raises:
        KdnasError: Another task's rows cannot be read or do not fit.
    """
    general = None
    if any(stage.is_general for stage in settings.recipe):
        general = load_teacher(teacher_source(settings.general_teacher or settings.teacher), None)
        general.model.to(runtime.device)  # type: ignore[arg-type]
    transfer = encoded = None
    if _reads_transfer(settings):
        with run.timed("transfer set"):
            transfer = make_transfer_set(
                data.examples,
                _other_tasks(settings, data),
                _sources(settings, data, task_teacher),
                settings.transfer_methods or SHARES,
                settings.transfer_rows,
                settings.seed,
                data.held_out,
            )
            encoded = encode(transfer.examples, data.tokenizer, data.length)
            check_inputs(encoded, task_teacher.model.config)
        own = transfer.methods.count(OWN)
        say(f"transfer set: {len(transfer.methods)} rows, {own} of them the task's own")
    masked = data.distillation if settings.mask_probability and not data.corpus else data.train
    return StageResources(task_teacher, general, data.train, masked, data.corpus, transfer, encoded)


def check_transfer(settings: Settings, data: RunData) -> None:
    """Refuses what the transfer set cannot be made of, before anything is computed.

    Raises:
        KdnasError: Another task's rows cannot be read or do not fit, or a method cannot be used.
    """
    if _reads_transfer(settings):
        _other_tasks(settings, data)
        check_methods(settings.transfer_methods, _sources(settings, data, None))


def write_transfer(
    run: Run, resources: StageResources, data: DistillationData, runtime: Runtime
) -> None:
    """Writes the transfer set with the teacher's logits to the run folder, once."""
    if resources.transfer is None or (run.folder / FILE).exists():
        return
    source, teacher = data.source, data.teacher
    logits = source.logits() if isinstance(source, StoredSignal) else None
    if logits is None and teacher.has_head:
        logits = predict(teacher.model, data.data, runtime, pad_id=teacher.pad_id)
    given = None if logits is None else logits.numpy()
    resources.transfer.write(run.folder, given, data.data.units)


def _reads_transfer(settings: Settings) -> bool:
    return any(stage.data == "transfer" for stage in settings.recipe)


def _sources(settings: Settings, data: RunData, teacher: Teacher | None) -> Sources:
    """What new rows are made of; without a teacher no words near one another."""
    table = np.zeros((0, 0), np.float32)
    if teacher:
        table = teacher.model.get_input_embeddings().weight.detach().float().cpu().numpy()
    new = max(0, settings.transfer_rows - len(data.examples))
    return Sources(rows_of(data.examples), data.tokenizer, table, data.corpus_texts, new)


def _other_tasks(settings: Settings, data: RunData) -> dict[str, Examples]:
    """The training rows of the tasks whose texts the transfer set takes."""
    found = {}
    for name in settings.transfer_tasks:
        spec = load_spec(name, settings.tasks)
        other = load_data(spec, settings.data_dir, splits=("train",), optional=())
        found[spec.name] = as_rows_like(data.examples, other.splits["train"], spec.name)
    return found
