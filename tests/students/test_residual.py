"""The basis of a narrower student's residual stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.runtime.device import Runtime
from kdnas.space import FAMILIES, Architecture, family_of
from kdnas.students import build_student
from kdnas.students.chosen import chosen_basis, principal_basis
from kdnas.students.importance import measure_importance
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 60))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return collate(EncodedExamples(ids, None, offsets), np.arange(60), 0)


def spectrum_of(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    variances, directions = torch.linalg.eigh(covariance.double())
    return variances, directions


def test_golden_bases() -> None:
    covariance = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
    basis, gain = principal_basis(spectrum_of(covariance), 1)
    assert basis[:, 0].abs().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    assert gain == pytest.approx((3 / 6 * 3 / 1) ** 0.5)
    chosen, gain = chosen_basis(torch.tensor([1.0, 2.0, 5.0]), 2)
    assert chosen.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert gain == pytest.approx((7 / 8 * 3 / 2) ** 0.5)


def test_principal_components_keep_the_most() -> None:
    states = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    covariance = (states * torch.arange(1, 13)).T.cov() + 1.0
    covariance = covariance + 20 * torch.ones(12, 12)
    kept = []
    for basis, _ in (
        principal_basis(spectrum_of(covariance), 4),
        chosen_basis(covariance.diagonal(), 4),
    ):
        torch.testing.assert_close(basis.T @ basis, torch.eye(4), atol=1e-5, rtol=0)
        kept.append(float((basis.T @ covariance @ basis).trace()))
    assert kept[0] > 1.1 * kept[1]


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_a_narrower_student_sees_the_teachers_embeddings(
    model_type: str, make_teacher: Callable[..., Path], batch: Batch, runtime: Runtime
) -> None:
    """A little narrower, its embeddings say nearly what the teacher's do, rotated."""
    model = load_teacher(str(make_teacher(model_type)), load_spec("sst2")).model
    importance = measure_importance(model, [batch], runtime)
    config = model.config
    size = config.hidden_size - (2 if family_of(model_type, model_type).rotary else 1)
    student = build_student(model, Architecture(1, 1, size, 64, "gelu"), importance=importance)
    wanted = OutputRequest(hidden_states((0,)))
    theirs, ours = (forward(m, batch, wanted).hidden(0) for m in (model, student))
    basis, _ = principal_basis(importance.spectrum, size)
    centred = [x - x.mean(0) for x in (theirs @ basis, ours)]
    unexplained = (centred[1] - centred[0]).square().sum() / centred[0].square().sum()
    assert unexplained.item() < 0.1


def test_real_principal_components_beat_real_dimensions(minilm: Path, runtime: Runtime) -> None:
    teacher = load_teacher(str(minilm), load_spec("sst2"))
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 65 * 16, 16).astype(np.int64)
    ids = rng.integers(1000, 20000, offsets[-1]).astype(np.int32)
    batch = collate(EncodedExamples(ids, None, offsets), np.arange(64), 0)
    importance = measure_importance(teacher.model, [batch], runtime)
    total = float(importance.residual.trace())
    for size in (96, 192, 288):
        kept = [
            float((basis.T @ importance.residual @ basis).trace()) / total
            for basis, _ in (
                principal_basis(importance.spectrum, size),
                chosen_basis(importance.residual.diagonal(), size),
            )
        ]
        assert kept[0] > kept[1] + 0.05
