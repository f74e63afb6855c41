"""How far a student predicts what its teacher predicts: a score that compares recipes, too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch, batches_once
from kdnas.distillation.forward import forward
from kdnas.distillation.modules import outputs_a_token
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.precision import working_precision
from kdnas.distillation.signals import TeacherSignal
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

    Attributes:
        parts: Shape (rows,): what each row takes from 1; together 1 - value.
    """

    value: float
    interval: Interval
    parts: NDArray[np.float64] = field(compare=False, repr=False)

    def clearly_above(self, other: HeldoutAgreement) -> bool:
        """Whether it is above another's by more than the standard error of their difference.

        That is of the same rows, where they have as many.
        """
        if len(self.parts) != len(other.parts):
            return self.value > other.value
        gains = other.parts - self.parts
        error = np.sqrt(len(gains)) * gains.std(ddof=1) if len(gains) > 1 else 0.0
        return bool(self.value - other.value > error)


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
        for batch in batches_once(data, pad_id, runtime.device, outputs_a_token(model)):
            let_pass()
            with runtime.autocast():
                ours = forward(model, batch, LOGITS).logits
            signal = source.fetch(batch, LOGITS)
            assert ours is not None, "it was asked for"
            said, wanted = batch.task.predicted(ours, batch.units), _predicted(signal, batch)
            example = batch.units.example.cpu().numpy()
            found.add(said, wanted, rows[batch.indices[example]])
    return found.result()


def _predicted(signal: ModelOutputs, batch: Batch) -> torch.Tensor:
    """What a teacher's signal predicts; a vocabulary's outputs that are not stored alike."""
    if signal.top is not None:
        return signal.top.probabilities()
    assert signal.logits is not None, "settings were checked"
    return batch.task.predicted(signal.logits, batch.units)


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
        said, wanted = _where_exact(said), _where_exact(wanted)
        each = _squares(said - wanted)
        np.add.at(self.squares, rows, each.cpu().numpy())
        np.add.at(self.counts, rows, 1)
        self.norms += float(_squares(said).sum() + _squares(wanted).sum())
        both = zip(self.totals, (said, wanted), strict=True)
        self.totals = [t.to(v.device) + v.sum(0, dtype=torch.double) for t, v in both]

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
        parts = squares / units / spread
        return HeldoutAgreement(float(1 - parts.sum()), (float(1 - low), float(1 - high)), parts)


def _where_exact(values: torch.Tensor) -> torch.Tensor:
    """The same values on a device that has double precision, which Apple's GPUs have not."""
    return values.cpu() if values.device.type == "mps" else values


def _squares(values: torch.Tensor) -> torch.Tensor:
    """The squared norm of each row, in double precision without a copy of all values in it."""
    norms: torch.Tensor = torch.linalg.vector_norm(values, dim=-1, dtype=torch.double)
    return norms.square()
