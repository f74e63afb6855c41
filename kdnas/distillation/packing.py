"""Encoders without padding: the layers see the real tokens alone, one after the other.

Embeddings and heads keep the usual padded shape, and so does attention, example by example; all
linear maps, activations and normalisations run over the packed tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from kdnas.runtime.device import moved

NAME = "kdnas_packed"
# Matrix libraries prepare a kernel for every new shape, so packed lengths fall into few buckets.
ROW_MULTIPLE = 64
EXAMPLE_MULTIPLE = 8
NEVER = -1e9


@dataclass(frozen=True)
class Packing:
    """Where a batch's real tokens are, padded and packed.

    Packed rows after the last real token are fill; there is at least one, and all cells of padding
    point to it.

    Attributes:
        shape: (batch, length) of the padded form.
        count: Real tokens.
        cells: Shape (packed rows,): the padded cell of each packed row; fill rows have cell 0.
        rows: Shape (blocks * length,): the packed row of each padded cell; blocks are the batch's
            examples and as much fill as makes them a multiple of 8.
        bias: Shape (blocks, 1, length): 0 for real tokens, a very negative number for padding.
    """

    shape: tuple[int, int]
    count: int
    cells: Tensor
    rows: Tensor
    bias: Tensor
    _by_head: dict[int, tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, compare=False
    )
    _within: dict[int, Tensor] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Packing:
        """The packing of a batch, given which of its cells, shape (batch, length), are real."""
        real = np.flatnonzero(mask)
        size = -(-(len(real) + 1) // ROW_MULTIPLE) * ROW_MULTIPLE
        cells = np.zeros(size, dtype=np.int64)
        cells[: len(real)] = real
        batch, length = mask.shape
        blocks = -(-batch // EXAMPLE_MULTIPLE) * EXAMPLE_MULTIPLE
        rows = np.full(blocks * length, len(real), dtype=np.int64)
        rows[real] = np.arange(len(real))
        bias = np.full((blocks, 1, length), NEVER, dtype=np.float32)
        bias[:batch, 0][mask] = 0
        return cls((batch, length), len(real), *map(torch.from_numpy, (cells, rows, bias)))

    def to(self, device: torch.device) -> Packing:
        tensors = (moved(part, device) for part in (self.cells, self.rows, self.bias))
        return Packing(self.shape, self.count, *tensors)

    def pack(self, padded: Tensor) -> Tensor:
        """From shape (batch, length, size) to (packed rows, size)."""
        flat = padded.reshape(-1, padded.shape[-1])
        return take(flat, self.cells, self.rows[: len(flat)], len(flat))

    def unpack(self, packed: Tensor) -> Tensor:
        """From shape (packed rows, size) to (batch, length, size); padding holds fill."""
        batch, length = self.shape
        rows = self.rows[: batch * length]
        return take(packed, rows, self.cells, self.count).view(batch, length, -1)

    def real(self, padded: Tensor, sample: slice = slice(None)) -> Tensor:
        """Some real tokens of shape (batch, length, ...), shape (sampled, ...)."""
        return padded.flatten(0, 1).index_select(0, self.cells[: self.count][sample])

    def sampled(self, packed: Tensor, sample: slice) -> Tensor:
        """Some real tokens of shape (1, packed rows, size), shape (sampled, size)."""
        rows = slice(sample.start, self.count, sample.step)
        return _Sample.apply(packed, rows)  # type: ignore[no-any-return, no-untyped-call]

    def spread_heads(self, tokens: Tensor, heads: int) -> Tensor:
        """Real tokens, shape (count, size), as (blocks, heads, length, size / heads), 0 between."""
        filled = torch.cat([tokens, tokens.new_zeros(1, tokens.shape[1])])
        padded = take(filled, self.rows, self.cells[: len(filled)], self.count)
        return padded.view(len(self.bias), self.shape[1], heads, -1).transpose(1, 2)

    def by_head(self, heads: int) -> tuple[Tensor, Tensor]:
        """The same two indices for rows (token, head) and cells (example, head, position)."""
        if heads not in self._by_head:
            length = self.shape[1]
            head = torch.arange(heads, device=self.cells.device)
            rows = self.rows.view(-1, 1, length) * heads + head[:, None]
            example, position = self.cells // length, self.cells % length
            cells = (example * heads * length + position)[:, None] + head * length
            self._by_head[heads] = (cells.flatten(), rows.flatten())
        return self._by_head[heads]

    def within(self, window: int) -> Tensor:
        """The bias, shape (blocks, length, length), of tokens that see `window` to each side."""
        if window not in self._within:
            places = torch.arange(self.shape[1], device=self.bias.device)
            far = (places[:, None] - places).abs() > window
            self._within[window] = self.bias.masked_fill(far, NEVER)
        return self._within[window]

    def split_heads(self, packed: Tensor) -> Tensor:
        """From shape (1, heads, packed rows, size) to (batch * heads, length, size)."""
        _, heads, _, size = packed.shape
        cells, rows = self.by_head(heads)
        flat = packed.transpose(1, 2).reshape(-1, size)
        return take(flat, rows, cells, self.count * heads).view(-1, self.shape[1], size)

    def join_heads(self, padded: Tensor, heads: int) -> Tensor:
        """From shape (batch * heads, length, size) to (1, packed rows, heads, size)."""
        cells, rows = self.by_head(heads)
        size = padded.shape[-1]
        flat = padded.reshape(-1, size)
        return take(flat, cells, rows, len(rows)).view(1, -1, heads, size)


class _Take(torch.autograd.Function):
    """Rows of a matrix, shape (rows, size), by an index, shape (taken,).

    Another index of shape (rows,) leads back, so that the gradient needs no scatter-add, which is
    far slower. Rows from `count` on are fill and take no gradient.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, index: Tensor, back: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(back)
        ctx.count = count
        return matrix.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (back,) = ctx.saved_tensors
        gradient = gradients[0].index_select(0, back)
        gradient[ctx.count :] = 0
        return gradient, None, None, None


class _Sample(torch.autograd.Function):
    """Rows of a slice; autograd's own chain of views would fill two buffers on the way back."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, rows: slice) -> Tensor:
        ctx.shape, ctx.rows = packed.shape, rows
        return packed[0, rows].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].new_zeros(ctx.shape)
        whole[0, ctx.rows] = gradients[0]
        return whole, None


take: Callable[[Tensor, Tensor, Tensor, int], Tensor] = _Take.apply


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of packed tokens, each within its own example, for transformers' interface.

    From queries, keys and values of shape (1, heads, packed rows, head size) to (1, packed rows,
    heads, head size), and no attention weights. The packing serves as the mask.
    `sliding_window` is, as in flash attention, one more than the tokens seen to each side.
    """
    heads, scale = query.shape[1], scaling or query.shape[-1] ** -0.5
    query, key, value = (packing.split_heads(x) for x in (query, key, value))
    bias = packing.bias if sliding_window is None else packing.within(sliding_window - 1)
    bias = bias.to(query.dtype)
    attend = fused if query.device.type != "cpu" else plain
    return packing.join_heads(attend(query, key, value, bias, scale, dropout), heads), None


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, dropout: float) -> Tensor:
    """Attention as matrix products: on CPUs the fused kernel's backward pass is the slower one.

    Of shape (blocks * heads, length, head size) each; the bias, shape (blocks, 1, length) or
    (blocks, length, length), is added to the scores.
    """
    biases = bias.repeat_interleave(len(q) // len(bias), dim=0)
    scores = torch.baddbmm(biases, q, k.transpose(1, 2), alpha=scale)
    return torch.bmm(F.dropout(scores.softmax(-1), dropout), v)


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, dropout: float) -> Tensor:
    """The same by torch's fused kernel, which wants (blocks, heads, length, head size)."""
    blocks, length = bias.shape[0], q.shape[1]
    q, k, v = (x.view(blocks, -1, length, x.shape[-1]) for x in (q, k, v))
    mask = bias[:, None].expand(-1, q.shape[1], length, -1)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale).flatten(0, 1)


_no_mask: Callable[..., Any] = lambda *_, **__: None  # noqa: E731
AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
