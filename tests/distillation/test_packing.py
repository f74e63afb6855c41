from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kdnas.distillation.packing import (
    EXAMPLE_MULTIPLE,
    ROW_MULTIPLE,
    Packing,
    even_rows,
    even_sample,
    fused,
    packed_attention,
    plain,
)

MASK = np.arange(16) < np.array([[3], [16], [7]])


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple) else (made,):
            if isinstance(one, torch.Tensor):
                self.bytes = max(self.bytes, one.untyped_storage().nbytes())
        return made


def test_packing_keeps_real_tokens_and_their_order() -> None:
    packing = Packing.of(MASK)
    padded = torch.arange(3 * 16 * 2, dtype=torch.float32).view(3, 16, 2)
    packed = packing.pack(padded)
    assert packing.count == 26 and len(packed) == ROW_MULTIPLE
    assert torch.equal(packed[:26], padded[torch.from_numpy(MASK)])
    assert torch.equal(packing.unpack(packed)[torch.from_numpy(MASK)], packed[:26])


def test_a_full_bucket_still_has_a_row_of_fill() -> None:
    packing = Packing.of(np.ones((4, 16), dtype=bool))
    assert packing.count == 64 and len(packing.cells) == 2 * ROW_MULTIPLE


def test_gradients_reach_each_real_token_once() -> None:
    packing = Packing.of(MASK)
    padded = torch.randn(3, 16, 2, requires_grad=True)
    weights = torch.randn(26, 2)
    (packing.unpack(packing.pack(padded))[torch.from_numpy(MASK)] * weights).sum().backward()
    assert padded.grad is not None
    assert torch.equal(padded.grad[torch.from_numpy(MASK)], weights)
    assert not padded.grad[torch.from_numpy(~MASK)].any()


def test_heads_are_split_and_joined() -> None:
    packing = Packing.of(MASK)
    packed = torch.randn(1, 4, len(packing.cells), 5)
    split = packing.split_heads(packed)
    assert split.shape == (EXAMPLE_MULTIPLE * 4, 16, 5)
    # Example 1, head 2, position 6 is packed row 3 + 6.
    assert torch.equal(split[1 * 4 + 2, 6], packed[0, 2, 9])
    joined = packing.join_heads(split, 4)
    assert torch.equal(joined[0, :26], packed.transpose(1, 2)[0, :26])


@pytest.mark.parametrize("window", [None, 2])
def test_both_ways_to_attend_agree(window: int | None) -> None:
    packing = Packing.of(MASK)
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, EXAMPLE_MULTIPLE * 4, 16, 8, generator=generator)
    bias = packing.bias if window is None else packing.within(window)
    ours = plain(q, k, v, bias, 0.3, 0.0)
    theirs = fused(q, k, v, bias, 0.3, 0.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    # A token of the first example sees that example's 3 tokens alone.
    scores = (q[0, 0] @ k[0, :3].T * 0.3).softmax(-1)
    torch.testing.assert_close(ours[0, 0], scores @ v[0, :3], atol=1e-5, rtol=1e-4)
    # One of the second sees all 16, or those at most 2 away.
    seen = slice(None) if window is None else slice(7, 12)
    scores = (q[4, 9] @ k[4, seen].T * 0.3).softmax(-1)
    torch.testing.assert_close(ours[4, 9], scores @ v[4, seen], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("window", [None, 64])
def test_one_long_text_is_read_without_the_scores_of_its_pairs_of_tokens(
    window: int | None,
) -> None:
    length, heads = 1024, 12
    packing = Packing.of(np.ones((1, length), dtype=bool), fill=False)
    assert packing.bias.shape == (1, 1, length)
    rows = len(packing.cells)
    q, k, v = torch.randn(3, 1, heads, rows, 16, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        given = {"packing": packing, "sliding_window": window}
        said, _ = packed_attention(torch.nn.Module(), q, k, v, None, **given)
    # A window is one bias for all heads, made from places of eight bytes.
    assert largest.bytes <= (8 * length**2 if window else 8 * q.nbytes)
    far = (torch.arange(length)[:, None] - torch.arange(length)).abs() >= (window or length)
    scores = (q[0, :, :length] @ k[0, :, :length].mT / 4).masked_fill(far, -torch.inf)
    expected = (scores.softmax(-1) @ v[0, :, :length]).transpose(0, 1)
    torch.testing.assert_close(said[0, :length], expected, atol=1e-5, rtol=1e-4)


def test_rows_of_even_packings_are_few() -> None:
    """Golden values; eight of them between a power of two and the next."""
    assert [even_rows(n) for n in (2, 65, 1000, 1024, 1025)] == [8, 72, 1024, 1024, 1152]
    assert len({even_rows(n) for n in range(1025, 2049)}) == 8
    assert even_sample(1152, 2) == 512
    for count in range(2, 3000):
        rows = even_rows(count)
        assert count <= rows and even_sample(rows, 1) <= count - 1


def test_sequences_of_an_even_packing() -> None:
    """Examples of 3, 16 and 7 tokens, then the 6 rows of fill up to 32."""
    packing = Packing.of(MASK, even=True)
    assert packing.starts is not None and len(packing.cells) == 32
    assert packing.starts.tolist() == [0, 3, 19, 26, 32, 32]


@pytest.mark.parametrize("count", [100, 1000, 4097])
def test_no_sequence_is_longer_than_the_examples_may_be(count: int) -> None:
    mask = np.arange(16) < np.resize([16, 3, 9], (count // 9, 1))
    packing = Packing.of(mask, even=True)
    assert packing.starts is not None
    sizes = np.diff(packing.starts.numpy())
    assert sizes.min() >= 0 and sizes.max() <= 16 and sizes.sum() == len(packing.cells)


def test_an_even_packing_unpacks_to_the_same_with_the_same_gradients() -> None:
    padded = torch.randn(3, 16, 2, requires_grad=True)
    weights = torch.randn(26, 2)
    for even in (False, True):
        packing = Packing.of(MASK, even=even)
        padded.grad = None
        (packing.unpack(packing.pack(padded))[torch.from_numpy(MASK)] * weights).sum().backward()
        assert padded.grad is not None
        assert torch.equal(padded.grad[torch.from_numpy(MASK)], weights)
