from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import (
    FORWARD_TOKENS,
    PAD_MULTIPLE,
    collate,
    forward_tokens,
    plan_epoch,
    plan_once,
    tensors_of,
)
from kdnas.tasks import EncodedExamples
from kdnas.tasks.encode import offsets_of


def ragged(lengths: list[int]) -> EncodedExamples:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.arange(1, offsets[-1] + 1, dtype=np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(len(lengths), dtype=np.int64))


def test_an_epoch_has_each_example_once_in_an_order_of_its_own() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 1000)
    first, again, other = (plan_epoch(lengths, 32, 0, epoch) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first)) == list(range(1000))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))


def test_small_data_are_not_sorted_as_a_whole() -> None:
    # As where a label goes with the length: sorted, each batch would have one label.
    lengths = np.random.default_rng(0).integers(1, 120, 500)
    longest = lengths >= np.quantile(lengths, 0.9)
    with_some = sum(longest[batch].any() for batch in plan_epoch(lengths, 32, 0, 0))
    assert with_some >= 5
    few = plan_epoch(lengths[:40], 32, 0, 0)  # no more batches than windows
    assert sum(map(len, few)) == 40


def test_batches_hold_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 120, 6400)
    spreads = [np.ptp(lengths[b]) for b in plan_epoch(lengths, 32, 0, 0)]
    assert np.mean(spreads) < 5
    assert sorted(np.concatenate(plan_once(lengths, 900))) == list(range(6400))


def test_collate_pads_on_the_right_to_few_lengths() -> None:
    data = ragged([3, 5, 20])
    batch = collate(data, np.array([1, 0]), pad_id=9)
    assert batch.inputs["input_ids"].shape == (2, PAD_MULTIPLE)
    assert batch.inputs["input_ids"][0, :6].tolist() == [4, 5, 6, 7, 8, 9]
    assert batch.inputs["attention_mask"].sum(1).tolist() == [5, 3]
    assert batch.labels is not None and batch.labels.tolist() == [1, 0]
    assert collate(data, np.array([2]), 9).inputs["input_ids"].shape == (1, 32)


def test_batches_have_about_equally_many_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 120, 1600)
    plan = plan_epoch(lengths, 32, 0, 0)
    tokens = [lengths[batch].sum() for batch in plan]
    assert len(plan) == 50
    assert max(tokens) < 1.15 * np.mean(tokens) and min(tokens) > 0.85 * np.mean(tokens)


@pytest.mark.parametrize("tokens", [1, 10, 64])
def test_the_real_tokens_are_in_the_order_of_the_data(tokens: int) -> None:
    data = ragged([4, 9, 2, 17, 1])
    plan = plan_once(data.lengths, tokens)
    assert sorted(np.concatenate(plan)) == [0, 1, 2, 3, 4]
    for indices in plan:
        batch = collate(data, indices, 0)
        expected = np.concatenate([data.take([i]).input_ids for i in indices])
        assert batch.packing.real(batch.inputs["input_ids"][..., None])[:, 0].tolist() == list(
            expected
        )


def test_a_stride_samples_tokens_from_different_places() -> None:
    data = ragged([4, 9, 2, 17, 1])
    samples = {collate(data, np.array([i]), 0, stride=2).sample.start for i in range(5)}
    assert samples == {0, 1}
    assert collate(data, np.array([3]), 0).sample == slice(0, None, 1)


def test_even_batches_have_equally_many_examples_of_all_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 120, 1010)
    plan = plan_epoch(lengths, 32, 0, 0, even=True)
    assert {len(indices) for indices in plan} == {32} and len(plan) == 32
    counts = np.bincount(np.concatenate(plan), minlength=1010)
    assert counts.min() == 1 and counts.max() == 2  # 14 of them fill the last batch
    assert len(plan_epoch(lengths[:5], 32, 0, 0, even=True)[0]) == 5


def test_shapes_of_even_batches_are_few() -> None:
    lengths = np.random.default_rng(0).integers(4, 60, 640)
    data = ragged(lengths.tolist())
    plan = plan_epoch(data.lengths, 32, 0, 0, even=True)
    batches = [collate(data, indices, 0, stride=2, even=64) for indices in plan]
    shapes = {tuple(t.shape for t in tensors_of(batch)) for batch in batches}
    assert len(shapes) <= 2
    for batch in batches:
        assert batch.inputs["input_ids"].shape == (32, 64)
        assert isinstance(batch.sample, np.ndarray)
        assert len(np.unique(batch.sample)) == len(batch.sample) == batch.compared_count
        assert batch.sample.max() < batch.packing.count
        assert 0.85 < 2 * len(batch.sample) / batch.packing.count <= 1


def test_a_changed_batch_keeps_its_form() -> None:
    batch = collate(ragged([3, 5, 20]), np.array([1, 0]), 9, even=32)
    doubled = batch.map(lambda tensor: tensor * 2)
    for before, after in zip(tensors_of(batch), tensors_of(doubled), strict=True):
        assert torch.equal(before * 2, after)
    assert len(tensors_of(batch)) == 9


def with_decoder(lengths: list[int], targets: list[int]) -> EncodedExamples:
    """Examples whose decoder reads 100, 101, ...; labels are one more."""
    units = offsets_of(np.array(targets))
    read = np.arange(100, 100 + sum(targets), dtype=np.int32)
    positions = np.concatenate([np.arange(count, dtype=np.int32) for count in targets])
    return replace(
        ragged(lengths), labels=read + 1, units=units, positions=positions, decoder_ids=read
    )


def test_what_a_decoder_reads_is_an_input_of_the_batch() -> None:
    data = with_decoder([4, 20], [3, 9])
    assert data.sizes.tolist() == [7, 29] and data.lengths.tolist() == [4, 20]
    batch = collate(data, np.array([1, 0]), 7)
    read = batch.inputs["decoder_input_ids"]
    assert batch.inputs["input_ids"].shape == (2, 32) and read.shape == (2, 16)
    assert read[0].tolist() == [*range(103, 112), *[7] * 7]
    assert read[1].tolist() == [100, 101, 102, *[7] * 13]
    # A unit is a place of the decoder.
    assert batch.units.length == 16 and len(batch.units) == 12
    found = read[batch.units.example, batch.units.position]
    assert batch.labels is not None and torch.equal(found + 1, batch.labels.long())


def test_a_decoder_of_examples_without_targets_reads_padding() -> None:
    data = with_decoder([4, 5], [0, 2])
    batch = collate(data, np.array([0]), 7)
    assert batch.inputs["decoder_input_ids"].tolist() == [[7] * 8] and len(batch.units) == 0


def test_parts_of_data_keep_what_the_decoder_reads() -> None:
    data = with_decoder([4, 5, 6], [3, 1, 2])
    assert data.take([2, 0]).decoder_ids.tolist() == [104, 105, 100, 101, 102]  # type: ignore
    both = data.take([1]).joined(data.take([0]))
    assert both.decoder_ids.tolist() == [103, 100, 101, 102]  # type: ignore[union-attr]
    assert data.fingerprint() != replace(data, decoder_ids=data.decoder_ids + 1).fingerprint()  # type: ignore


def test_a_batch_of_a_vocabularys_outputs_is_as_large_as_they_allow() -> None:
    cpu = torch.device("cpu")
    assert forward_tokens(cpu) == forward_tokens(cpu, 50_265) == FORWARD_TOKENS
    assert forward_tokens(torch.device("cuda"), 50_265) == 2**28 // 50_265 == 5340
    assert forward_tokens(cpu, 250_112) == 1073 and forward_tokens(cpu, 2**30) == 1


def test_batches_of_short_texts_have_so_many_rows_at_most() -> None:
    lengths = np.random.default_rng(0).integers(1, 120, 1600)
    plan = plan_once(lengths, 4096, 100)
    assert sorted(np.concatenate(plan)) == list(range(1600))
    assert 95 < max(map(len, plan)) < 105
    assert max(lengths[batch].sum() for batch in plan) < 1.05 * 4096
    assert np.array_equal(lengths[np.concatenate(plan)], np.sort(lengths))  # by length all the same
