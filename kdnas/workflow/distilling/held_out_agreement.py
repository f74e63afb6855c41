"""How far a trained student agrees with its teacher on the training rows that none trained on.

It compares probabilities, not right and wrong answers: on few rows that ranks students better than
their score does (docs/results.md, Recipes).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.signals import LiveSignal
from kdnas.files.artifact import content_of
from kdnas.runs.context import run_step
from kdnas.scoring.agreement import HeldoutAgreement, heldout_agreement
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.tasks import EncodedExamples
from kdnas.tasks.encode import same_units
from kdnas.teachers.head import to_standard_units
from kdnas.workflow.distilling.measure import Control, saved_model
from kdnas.workflow.preparing.prepare import Prepared


@dataclass(frozen=True)
class OnItsOwnTokens:
    """A teacher's signal for batches of a student whose vocabulary is another: for the same rows.

    Attributes:
        signal: Runs the teacher.
        rows: The rows in the teacher's tokens, in the order of the student's.
        pad_id: The teacher's.
    """

    signal: LiveSignal
    rows: EncodedExamples
    pad_id: int

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """What the teacher gives for the rows of a batch."""
        own = collate(self.rows, batch.indices, self.pad_id)
        return self.signal.fetch(own.to(self.signal.runtime.device), request)


def can_agree(prepared: Prepared) -> bool:
    """Whether the teacher can be asked for what students of its task predict.

    A black box cannot, nor can a teacher without a trained head, texts that are generated are
    compared as texts, and windows on long texts differ with the vocabulary.
    """
    teacher, data = prepared.teacher, prepared.inputs.data
    windows = data.train.rows is not None
    cut = prepared.context.settings.vocabulary != TEACHERS_VOCABULARY
    known = teacher.has_head and not (teacher.recorded or data.spec.task_type.generates)
    return known and not (windows and cut)


def agreement_of(prepared: Prepared, made: Control) -> HeldoutAgreement:
    """The concordance of a saved student with its teacher; see `heldout_agreement`."""
    teacher, runtime = prepared.teacher, prepared.context.runtime.exact
    vocabulary = made.candidate.vocabulary
    own = prepared.rows(vocabulary)

    def compute() -> dict[str, Any]:
        student = saved_model(made.folder, prepared.inputs.data.spec)
        to_standard_units(student, teacher.scale)  # as the teacher gives its outputs
        theirs, ours = prepared.rows(TEACHERS_VOCABULARY).selection, own.selection
        if vocabulary != TEACHERS_VOCABULARY:
            same = same_units(ours, theirs)
            theirs, ours = theirs.take(same), ours.take(same)
        source = OnItsOwnTokens(LiveSignal(teacher.model, runtime), theirs, teacher.pad_id)
        found = heldout_agreement(student, ours, source, runtime, pad_id=own.pad_id)
        return {**asdict(found), "parts": found.parts.tolist()}

    parts = made.folder.relative_to(prepared.context.run.folder).parts
    key: dict[str, Any] = {"content": content_of(made.folder), "rows": own.selection.fingerprint()}
    key["by_row"] = True  # earlier runs have the value alone
    name = " ".join(("agreement", *parts))
    known = run_step(prepared.context, name, key, compute)
    return HeldoutAgreement(**{**known, "parts": np.array(known["parts"])})
