"""What the hidden states of a student's last layer say on held-out rows."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.distillation.losses.base import DistillationLoss, TeacherStatistics
from kdnas.distillation.losses.hidden import HiddenLoss, HiddenOptions
from kdnas.distillation.outputs import ModelOutputs, State
from kdnas.space import Architecture

TEACHER, STUDENT = Architecture(6, 2, 8, 16, "gelu"), Architecture(4, 2, 8, 16, "gelu")
TOKENS = 12


def outputs(depth: int, seed: int) -> ModelOutputs:
    """Hidden states of all layers, each centred with variance 1 in all, as a mean over tokens."""
    drawn = torch.randn(depth + 1, TOKENS, 8, generator=torch.Generator().manual_seed(seed))
    centred = drawn - drawn.mean(1, keepdim=True)
    spread = centred.square().sum(-1).mean(-1).sqrt()
    return ModelOutputs({State("hidden", i): centred[i] / spread[i] for i in range(depth + 1)})


def loss_with(projections: dict[int, Tensor], **options: object) -> HiddenLoss:
    """A loss whose projections are zero, but for those given by their number."""
    statistics = TeacherStatistics(torch.zeros(7, 8), torch.full((7, 8), 1 / 8))
    made = LOSSES["hidden"](Shapes(TEACHER, STUDENT), HiddenOptions(**options), statistics)  # type: ignore[arg-type]
    assert isinstance(made, HiddenLoss)
    with torch.no_grad():
        for i, layer in enumerate(made.projections):
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.copy_(projections.get(i, torch.zeros_like(layer.weight)))
            layer.bias.zero_()
    return made


def test_only_the_last_layers_count() -> None:
    """Layers 1 to 4 learn from 1 and 3, 2 and 4, 3 and 5, 4 and 6: the last of all is scored."""
    teacher, student = outputs(6, 0), outputs(4, 1)
    student.states[State("hidden", 4)] = teacher.states[State("hidden", 6)].clone()
    known = torch.cat([torch.zeros(8, 8), torch.eye(8)])
    nothing, last = loss_with({}), loss_with({3: known})
    batch: object = None
    values = [one.heldout_value(student, batch, teacher) for one in (nothing, last)]  # type: ignore[arg-type]
    assert float(values[0]) == pytest.approx(1, abs=1e-5)  # the mean of the teacher's
    assert float(values[1]) == pytest.approx(0, abs=1e-5)
    whole = last.loss(student, batch, teacher)  # type: ignore[arg-type]
    assert float(whole) == pytest.approx(7 / 8, abs=1e-5)


def test_where_the_map_does_not_lead_there_the_mean_counts() -> None:
    teacher, student = outputs(6, 0), outputs(4, 1)
    made = loss_with({}, mapping="skip")  # 1 to 4
    given = (student, None, teacher)
    assert float(made.heldout_value(*given)) == float(made.loss(*given))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["hidden", "embeddings"])
@pytest.mark.parametrize("mapping", ["skip", "learned"])
def test_what_was_learnt_goes_on_in_the_same_normalisation_alone(name: str, mapping: str) -> None:
    """Else the loss would be in the scale of the stage before, whatever its own stage says."""
    kinds, shapes = ("layer", "dimension", "raw"), Shapes(TEACHER, STUDENT)

    def made(kind: str, seed: int) -> DistillationLoss:
        drawn = torch.rand(7, 8, generator=torch.Generator().manual_seed(seed))
        options = HiddenOptions(mapping=mapping, normalisation=kind)  # type: ignore[arg-type]
        return LOSSES[name](shapes, options, TeacherStatistics(drawn, drawn))

    for before, after in product(kinds, kinds):  # on other rows: statistics differ
        assert made(after, 1).continues(made(before, 0).learnt()) is (before == after)
