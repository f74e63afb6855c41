"""How far a student predicts what its teacher predicts: a score that compares recipes, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.distillation.batches import batches_once
from kdnas.distillation.outputs import OutputRequest, TeacherSignal, forward
from kdnas.distillation.precision import working_precision
from kdnas.measure.quiet import computing
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples
from kdnas.tasks.metrics import CONFIDENCE, RESAMPLES, Interval

LEAST_SPREAD = 1e-12
LOGITS = OutputRequest(logits=True)


@dataclass(frozen=True)
class HeldoutAgreement:
    """The concordance of a student's predictions with its teacher's, and its 95% interval.

    From -1 to 1: 1 where they are the same, 0 where the student predicts one thing for all.
    """

    value: float
    interval: Interval


@torch.no_grad()
def heldout_agreement(
    model: PreTrainedModel,
    data: EncodedExamples,
    source: TeacherSignal,
    runtime: Runtime,
    *,
    pad_id: int,
) -> HeldoutAgreement:
    """How far a model agrees with its teacher on rows that it was not trained on.

    Args:
        model: The student.
        data: The rows; their labels are not read.
        source: The teacher's signal for them, with logits.
        runtime: Device and precision.
        pad_id: Token that fills short rows.
    """
    rows = np.arange(len(data)) if data.rows is None else data.rows
    found = Concordance(int(rows.max(initial=0)) + 1)
    model.to(runtime.device).eval()  # type: ignore[arg-type]
    with computing(runtime.device) as let_pass, working_precision(model, runtime):
        for batch in batches_once(data, pad_id, runtime.device):
            let_pass()
            with runtime.autocast():
                ours = forward(model, batch, LOGITS).logits
            theirs = source.fetch(batch, LOGITS).logits
            assert ours is not None and theirs is not None, "settings were checked"
            said, wanted = (batch.task.predicted(each, batch.units) for each in (ours, theirs))
            example = batch.units.example.cpu().numpy()
            found.add(said.double(), wanted.double(), rows[batch.indices[example]])
    return found.result()


class Concordance:
    """Gathers predictions of student `s` and teacher `t`, batch by batch, and compares them.

    `1 - E|s - t|^2 / (var s + var t + |mean s - mean t|^2)`, means over units, variances summed
    over outputs (Lin 1989, A Concordance Correlation Coefficient to Evaluate Reproducibility).
    Golden: 0.8 for half of a teacher's deviations from a mean of 0.

    Args:
        rows: How many rows the units are of.
    """

    def __init__(self, rows: int) -> None:
        self.squares, self.counts = np.zeros(rows), np.zeros(rows)
        self.norms, self.totals = 0.0, [torch.zeros(()), torch.zeros(())]

    def add(self, said: torch.Tensor, wanted: torch.Tensor, rows: NDArray[np.int64]) -> None:
        """Adds predictions of student and teacher, shape (units, outputs), of these rows."""
        each = (said - wanted).square().sum(-1)
        np.add.at(self.squares, rows, each.cpu().numpy())
        np.add.at(self.counts, rows, 1)
        self.norms += float(said.square().sum() + wanted.square().sum())
        both = zip(self.totals, (said, wanted), strict=True)
        self.totals = [total.to(values.device) + values.sum(0) for total, values in both]

    def result(self) -> HeldoutAgreement:
        """The value, and a percentile bootstrap over rows of its numerator."""
        seen = self.counts > 0
        squares, counts = self.squares[seen], self.counts[seen]
        units = counts.sum()
        ours, theirs = (total / units for total in self.totals)
        spread = max(self.norms / units - 2 * float((ours * theirs).sum()), LEAST_SPREAD)
        drawn = np.random.default_rng(0).integers(0, len(squares), (RESAMPLES, len(squares)))
        means = squares[drawn].sum(1) / counts[drawn].sum(1)
        tail = 50 * (1 - CONFIDENCE)
        high, low = np.percentile(means, (tail, 100 - tail)) / spread
        value = 1 - squares.sum() / units / spread
        return HeldoutAgreement(float(value), (float(1 - low), float(1 - high)))
