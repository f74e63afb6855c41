"""A student of an encoder-decoder is trained from a store, by all its losses at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.tiny_pairs import PAD, pair_data, tiny_pair

from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.distillation.losses.base import Fitting, WeightedLosses
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import heldout_losses, train
from kdnas.runtime.device import Runtime
from kdnas.space import Candidate
from kdnas.students.build import initialiser_of
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import some_batches
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import build_store

ENDS = {
    "task": 0.1,
    "logits": 1.0,
    "hidden": 1.0,
    "encoder-output": 1.0,
    "decoder-hidden": 1.0,
    "cross-attention": 1.0,
    "decoder-attention": 1.0,
    "decoder-relations": 1.0,
}


@pytest.mark.parametrize("model_type", ["bart", "t5"])
def test_every_loss_falls_and_the_state_survives(
    model_type: str, runtime: Runtime, tmp_path: Path
) -> None:
    words, changes = 2100, {"tie_word_embeddings": False} if model_type == "t5" else {}
    model = tiny_pair(model_type, vocab_size=words, **changes)
    teacher = Teacher("tiny", model, SimpleNamespace(pad_token_id=PAD), has_head=True)
    data = pair_data(words)
    initialiser = initialiser_of(teacher, data, runtime, inherit=True, seed=0)
    own = teacher.architecture
    shape = replace(own, num_hidden_layers=2, num_decoder_layers=1, hidden_size=16)
    state = initialiser.student(Candidate(shape))
    shapes = Shapes(own, state.architecture)
    kinds = {name: LOSSES[name] for name in ENDS}
    options = {
        name: kind.Options(mapping="evenly") if "mapping" in kind.Options.model_fields else None
        for name, kind in kinds.items()
    }
    requests = (
        kind.teacher_request(shapes, options[name] or kind.Options())
        for name, kind in kinds.items()
    )
    wanted = OutputRequest()
    for request in requests:
        wanted |= request
    store = build_store(tmp_path / "store", teacher, data, wanted.states, runtime)
    losses = {
        name: (ENDS[name], kind(shapes, options[name], store.statistics(data.task_type)))
        for name, kind in kinds.items()
    }
    objective, source = WeightedLosses(losses), store.subset()
    for _, loss in losses.values():
        loss.fit(Fitting(state.model, some_batches(data, PAD, runtime), source, runtime))
    work = (state.model, objective, data, source)
    before = heldout_losses(*work, runtime, pad_id=PAD)
    train(*work, Schedule(epochs=6, batch_size=8, lr=5e-3), runtime, pad_id=PAD)
    after = heldout_losses(*work, runtime, pad_id=PAD)
    assert all(after[name] < before[name] for name in ENDS), (before, after)
    state.save(tmp_path)
    again = StudentState.load(tmp_path)
    assert again.architecture == state.architecture
    for name, value in state.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    ours, theirs = again.model.generation_config, model.generation_config
    assert ours.decoder_start_token_id == theirs.decoder_start_token_id
