"""What matters is kept; what is constant is not lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import Batch, collate
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.space import FAMILIES, SearchSpace, family_of
from kdnas.space.families import is_at
from kdnas.students import build_student
from kdnas.students.importance import Importance, measure_importance, parts_of
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher

CONSTANT = 11


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 16))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return collate(EncodedExamples(ids, None, offsets), np.arange(16), 0)


def measured(model: torch.nn.Module, batch: Batch, runtime: Runtime) -> Importance:
    return measure_importance(model, [batch], runtime)


RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}


@pytest.mark.parametrize(
    ("model_type", "changes"), [*((name, {}) for name in sorted(FAMILIES)), ("deberta", RELATIVE)]
)
def test_bf16_measures_alike_and_leaves_the_weights_exact(
    model_type: str,
    changes: dict[str, Any],
    make_teacher: Callable[..., Path],
    batch: Batch,
    runtime: Runtime,
) -> None:
    model = load_teacher(str(make_teacher(model_type, **changes)), load_spec("sst2")).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exact = measured(model, batch, runtime)
    low = measured(model, batch, start_runtime(device="cpu", precision="bf16"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(low.residual, exact.residual, atol=1e-3, rtol=0.02)
    for part in ("rows", "neurons"):
        torch.testing.assert_close(getattr(low, part), getattr(exact, part), atol=0, rtol=0.02)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_neurons_that_never_vary_go_first_and_cost_nothing(
    model_type: str, make_teacher: Callable[..., Path], batch: Batch, runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher(model_type)), load_spec("sst2")).model
    family = family_of(model_type, model_type)
    neurons = getattr(model.config, family.field_name("intermediate_size"))
    with torch.no_grad():
        for path, module in model.named_modules():
            if any(is_at(path, end) for end in family.neurons_in) and "attention" not in path:
                module.weight[CONSTANT::neurons] = 0
                if module.bias is not None:
                    module.bias[CONSTANT::neurons] = 2
    importance = measured(model, batch, runtime)
    assert all(int(v.argmin()) == CONSTANT for v in importance.neurons.values())
    teacher = SearchSpace.from_teacher(model.config, model_type).teacher
    smaller = teacher.__class__(
        **{**teacher.params, "intermediate_size": teacher.intermediate_size - 1}
    )
    student = build_student(model, smaller, importance=importance)
    torch.testing.assert_close(
        student(**batch.inputs).logits, model(**batch.inputs).logits, atol=1e-5, rtol=1e-4
    )


def test_relative_positions_are_not_measured(
    make_teacher: Callable[..., Path], runtime: Runtime
) -> None:
    """DeBERTa reads 2 * 8 of them, here as many as there are tokens."""
    changes = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
    folder = make_teacher("deberta-v2", share_att_key=True, **changes)
    model = load_teacher(str(folder), load_spec("sst2")).model
    ids = np.tile(np.arange(5, 21, dtype=np.int32), 2)
    twice = EncodedExamples(ids, None, np.array([0, 16, 32]))
    one, two = (measured(model, collate(twice, np.arange(n), 0), runtime) for n in (1, 2))
    for layer, rows in two.rows.items():
        torch.testing.assert_close(one.rows[layer], rows, atol=1e-4, rtol=1e-3)


def test_it_survives_the_way_through_a_file(
    make_teacher: Callable[..., Path], batch: Batch, runtime: Runtime, tmp_path: Path
) -> None:
    importance = measured(load_teacher(str(make_teacher()), None).model, batch, runtime)
    importance.save(tmp_path / "importance")
    again = Importance.load(tmp_path / "importance")
    assert torch.equal(again.residual, importance.residual)
    for part in ("rows", "neurons", "neuron_means"):
        ours, theirs = getattr(importance, part), getattr(again, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[layer], theirs[layer]) for layer in ours)


def test_heads_that_say_nothing_go_first(
    make_teacher: Callable[..., Path], batch: Batch, runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    family = family_of("bert", "bert")
    with torch.no_grad():
        for path, module in model.named_modules():
            if parts_of(path, family) == ("query",) or path.endswith("self.value"):
                module.weight[8:16] *= 1e-3
                module.bias[8:16] = 0
    rows = measured(model, batch, runtime).rows
    assert len(rows) == model.config.num_hidden_layers
    for layer in rows.values():
        heads = layer.view(4, 8).sum(1)
        assert int(heads.argmin()) == 1
