"""Stores of encoder-decoders: both stacks' states, and the likeliest outputs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.tiny_pairs import PAD, pair_data, tiny_pair

from kdnas.distillation.batches import batches_once
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.logits import LogitsLoss, LogitsOptions
from kdnas.distillation.outputs import OutputRequest, attention_states, hidden_states
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.top_logits import Keep
from kdnas.runtime.device import Runtime
from kdnas.students import build_student
from kdnas.tasks import EncodedExamples
from kdnas.teachers import store as stores
from kdnas.teachers.distillation_data import _statistics
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import build_store, store_bytes
from kdnas.teachers.stored_logits import UNIT_BYTES

WORDS = 3000
STATES = (
    hidden_states((0, 3), "decoder")
    | hidden_states((4,))
    | attention_states(2, kinds=("query", "key"), place="cross")
)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    model = tiny_pair("bart", vocab_size=WORDS)
    with torch.no_grad():  # as sure of some words as real models are
        model.lm_head.weight.mul_(3.0)
    return Teacher("tiny", model, SimpleNamespace(pad_token_id=PAD), has_head=True)


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    return pair_data(WORDS)


def test_a_store_says_what_the_teacher_says(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, STATES, runtime)
    live, wanted = LiveSignal(teacher.model, runtime), OutputRequest(STATES, logits=True)
    rows = np.array([30, 2, 17, 5, 9])
    source, part = store.subset(rows), data.take(rows)
    for batch in batches_once(part, PAD, runtime.device):
        stored, asked = source.fetch(batch, wanted), live.fetch(batch, wanted)
        assert stored.states.keys() == STATES and stored.logits is None
        for state, expected in asked.states.items():
            found = stored.states[state].float()
            torch.testing.assert_close(found, expected, atol=4e-3, rtol=2e-3)
        assert stored.top is not None and asked.logits is not None
        said = asked.logits.log_softmax(-1)
        real = stored.top.logs > -1e4
        kept = torch.where(real, said.gather(1, stored.top.ids), -1e4)
        torch.testing.assert_close(stored.top.logs, kept, atol=2e-2, rtol=1e-3)
        reached = stored.top.others + real.sum(1)
        assert reached.tolist() == [WORDS] * len(batch.units)


def test_the_divergence_from_a_store_is_nearly_that_from_the_teacher(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, (), runtime)
    student = build_student(teacher.model, teacher.architecture, inherit=False)
    with torch.no_grad():
        student.lm_head.weight.mul_(20)
    loss = LogitsLoss(options=LogitsOptions(temperature=1.0))
    live, wanted = LiveSignal(teacher.model, runtime), OutputRequest(logits=True)
    for batch in batches_once(data, PAD, runtime.device):
        with torch.no_grad():
            output = forward(student, batch, wanted)
            whole, found = (
                float(loss.loss(output, batch, source.fetch(batch, wanted)))
                for source in (live, store.subset())
            )
        assert found == pytest.approx(whole, rel=0.02)


def test_statistics_are_over_each_stacks_tokens(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, STATES, runtime)
    known = store.statistics(data.task_type)
    assert known.logit_variance is None
    mean, variance = known.of("decoder")
    assert mean.shape == variance.shape == (4, 32) and known.mean.shape == (5, 32)
    (state,) = hidden_states((3,), "decoder")
    states = torch.from_numpy(np.asarray(store.states[state], dtype=np.float32))
    assert len(states) == int(data.unit_offsets[-1])
    torch.testing.assert_close(mean[3], states.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(variance[3], states.var(0, correction=0), atol=5e-3, rtol=1e-2)
    seen = _statistics(teacher, LiveSignal(teacher.model, runtime), data, runtime)
    for place in ("encoder", "decoder"):
        for one, other in zip(seen.of(place), known.of(place), strict=True):
            torch.testing.assert_close(one, other, atol=5e-3, rtol=1e-2)


def test_a_store_takes_no_more_than_was_said(
    teacher: Teacher,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "WINDOW_TOKENS", 100)
    build_store(tmp_path / "s", teacher, data, STATES, runtime)
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "s").iterdir()}
    units = int(data.unit_offsets[-1])
    assert sum(sizes.values()) < store_bytes(teacher, data, STATES) + 10_000
    assert sizes["top-ids.i32"] <= units * Keep().most * 4
    assert "logits.npy" not in sizes and UNIT_BYTES < WORDS
    assert sizes["decoder-hidden-03.f16"] == units * 32 * 2
    assert sizes["cross-key-02.f16"] == int(data.offsets[-1]) * 32 * 2
