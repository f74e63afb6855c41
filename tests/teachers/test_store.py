from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import sentence, small_config, small_tokenizer
from transformers import AutoModelForSequenceClassification

from kdnas.distillation.batches import batches_once
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import OutputRequest, State, attention_states, hidden_states
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal, NoSignal
from kdnas.distillation.training import train
from kdnas.files import artifact
from kdnas.files.cache import cache_folder
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.scoring.agreement import heldout_agreement
from kdnas.tasks import EncodedExamples, Examples, encode, load_spec
from kdnas.teachers import cache
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.teachers.store import build_store, open_or_build_store, store_bytes, store_key

STATES = hidden_states((1, 3)) | attention_states(2)
LAST = State("hidden", 3)


@pytest.fixture(scope="module")
def teacher(teacher_folder: Path) -> Teacher:
    loaded = load_teacher(str(teacher_folder), load_spec("sst2"))
    loaded.has_head = True
    return loaded


@pytest.fixture(scope="module")
def data(teacher: Teacher) -> EncodedExamples:
    import random

    rng = random.Random(0)
    texts = [" ".join([sentence(rng)] * rng.randint(1, 4)) for _ in range(37)]
    labels = np.arange(37) % 2
    return encode(Examples(texts, None, labels), teacher.tokenizer, 64)


def test_a_store_says_what_the_teacher_says(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, STATES, runtime)
    live = LiveSignal(teacher.model, runtime)
    wanted = OutputRequest(STATES, logits=True)
    rows = np.array([30, 2, 17, 5, 9])
    source, part = store.subset(rows), data.take(rows)
    for batch in batches_once(part, teacher.pad_id, runtime.device):
        stored, asked = source.fetch(batch, wanted), live.fetch(batch, wanted)
        assert stored.logits is not None and asked.logits is not None
        torch.testing.assert_close(stored.logits, asked.logits, atol=1e-5, rtol=0)
        assert stored.states.keys() == asked.states.keys() == STATES
        for state, expected in asked.states.items():
            found = stored.states[state]
            assert found.dtype == torch.float16
            torch.testing.assert_close(found.float(), expected, atol=4e-3, rtol=0)


def test_statistics_are_over_real_tokens(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "s", teacher, data, STATES, runtime)
    states = torch.from_numpy(np.asarray(store.states[LAST], dtype=np.float32))
    assert states.shape == (int(data.offsets[-1]), 32)
    torch.testing.assert_close(store.mean[3], states.mean(0), atol=1e-3, rtol=0)
    expected = states.var(0, correction=0)
    torch.testing.assert_close(store.variance[3], expected, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_damage_is_noticed_named_and_repaired(
    damage: str,
    teacher: Teacher,
    data: EncodedExamples,
    runtime: Runtime,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = open_or_build_store(teacher, data, STATES, runtime)
    before = np.array(store.states[LAST])
    file = store.folder / ("kdnas.json" if damage == "manifest" else "hidden-03.f16")
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "flip":
        content[100] ^= 0xFF
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2])
    again = open_or_build_store(teacher, data, STATES, runtime)
    assert file.name in capsys.readouterr().out
    assert np.array_equal(again.states[LAST], before)


def test_a_second_call_finds_the_store(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime
) -> None:
    first = open_or_build_store(teacher, data, STATES, runtime)
    stamp = (first.folder / "kdnas.json").stat().st_mtime_ns
    again = open_or_build_store(teacher, data, STATES, runtime)
    assert again.folder == first.folder and cache_folder() in again.folder.parents
    assert (again.folder / "kdnas.json").stat().st_mtime_ns == stamp


def test_a_store_that_holds_more_serves_too(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime
) -> None:
    part = data.take(range(20))
    large = open_or_build_store(teacher, part, hidden_states((1, 2, 3)), runtime)
    assert open_or_build_store(teacher, part, hidden_states((2, 3)), runtime).folder == large.folder
    more = open_or_build_store(teacher, part, hidden_states((0, 1)), runtime)
    assert more.folder != large.folder and set(more.states) == hidden_states((0, 1))


def test_the_key_covers_weights_data_and_precision(
    teacher: Teacher, data: EncodedExamples, teacher_folder: Path
) -> None:
    key = store_key(teacher, data, "fp32")
    assert key == store_key(teacher, data, "fp32")
    assert key != store_key(teacher, data.take(range(36)), "fp32")
    assert key != store_key(teacher, data, "bf16")
    other = load_teacher(str(teacher_folder), load_spec("sst2"))
    other.has_head = True
    assert key == store_key(other, data, "fp32")
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1
    assert key != store_key(other, data, "fp32")


def test_files_and_weights_are_hashed_once_a_process(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = artifact._checksum.__wrapped__

    def counted(file: Path, *state: int) -> int:
        read.append(file.name)
        return whole(file, *state)

    part = data.take(range(10))
    open_or_build_store(teacher, part, STATES, runtime)
    hashed: list[int] = []
    cache._digests.clear()
    # Not `undo`, which would take back what the fixtures of every test set, too.
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_hash", lambda tensors: hashed.append(1) or "digest")
        for _ in range(3):
            assert store_key(teacher, part, "fp32") == store_key(teacher, part, "fp32")
    assert hashed == [1]
    cache._digests.clear()
    monkeypatch.setattr(artifact, "_checksum", lru_cache(counted))
    for _ in range(3):
        open_or_build_store(teacher, part, STATES, runtime)
    assert "logits.npy" in read and len(read) == len(set(read))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_that_were_trained_are_hashed_anew(
    precision: str, teacher_folder: Path, data: EncodedExamples
) -> None:
    model = load_teacher(str(teacher_folder), load_spec("sst2")).model
    runtime = start_runtime(device="cpu", precision=precision)
    before = cache.weights_digest(model)
    losses = WeightedLosses({"task": (1.0, LOSSES["task"]())})
    train(model, losses, data, NoSignal(), Schedule(1, 1e-2), runtime, pad_id=0)
    after = cache.weights_digest(model)
    assert after != before and after == cache._hash(sorted(model.state_dict().items()))


@pytest.mark.parametrize("kind", ["multi-label", "classification"])
def test_many_classes_are_stored_as_they_are(kind: str, runtime: Runtime, tmp_path: Path) -> None:
    """Those of a vocabulary alone are cut to the likeliest, which independent labels are not."""
    torch.manual_seed(0)
    config = small_config(num_labels=2100, kdnas_task_type=kind)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = np.arange(5, 45, dtype=np.int32)
    few = EncodedExamples(ids, None, np.arange(0, 41, 4), None, kind)
    teacher = Teacher("many", model, small_tokenizer(), has_head=True)
    store = build_store(tmp_path / "s", teacher, few, [], runtime)
    assert store.top is None and store.logits is not None and store.logits.shape == (10, 2100)
    found = heldout_agreement(model, few, store.subset(), runtime, pad_id=0)
    assert found.value == pytest.approx(1, abs=1e-5)
    assert (tmp_path / "s" / "logits.npy").stat().st_size >= store_bytes(teacher, few, []) == 84_000


class Card:
    """The memory of a GPU as the store asks for it."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, _: torch.device) -> tuple[int, int]:
        return self.room, self.room


def test_a_state_without_room_on_the_card_is_not_read(
    teacher: Teacher,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = build_store(tmp_path / "s", teacher, data, STATES, runtime)
    monkeypatch.setattr(torch.cuda, "mem_get_info", Card(room=1000))
    monkeypatch.setattr(np, "array", lambda *_: pytest.fail("read"))
    assert store.on(torch.device("cuda"), LAST) is None
