"""Encoders without padding: the layers see the real tokens alone, one after the other.

Embeddings and heads keep the usual padded shape, and so does attention, example by example; all
linear maps, activations and normalisations run over the packed tokens.
"""

from __future__ import annotations

import inspect
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

# Which of a batch's real tokens, counted in their order.
Sample = slice | Tensor
NAME = "kdnas_packed"
# Matrix libraries prepare a kernel for every new shape, so packed lengths fall into few buckets.
ROW_MULTIPLE = 64
EXAMPLE_MULTIPLE = 8
# Even batches have one of so many numbers of packed rows between a power of two and the next.
STEPS_AN_OCTAVE = 8
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
            examples and, where it is trained on, as much fill as makes them a multiple of 8.
        bias: Shape (blocks, 1, length): 0 for real tokens, a very negative number for padding.
        starts: Shape (sequences + 1,), int32: where each sequence starts in the packed rows, and
            where the last one ends; fill is in sequences of its own, no longer than the examples.
            None where batches are not even.
        filled: Whether there may be fill among the blocks, as in all batches that students learn
            from and the signal for them: the same rows then have the same bits in each.
    """

    shape: tuple[int, int]
    count: int
    cells: Tensor
    rows: Tensor
    bias: Tensor
    starts: Tensor | None = None
    filled: bool = True
    _by_head: dict[int, tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, compare=False
    )
    _within: dict[int, Tensor] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def of(cls, mask: NDArray[np.bool_], *, even: bool = False, fill: bool = True) -> Packing:
        """The packing of a batch, given which of its cells, shape (batch, length), are real.

        With `even`, batches of about as many tokens have equally many packed rows and sequences.
        Without `fill`, blocks are the examples alone: one long text takes no memory of eight.
        """
        real = np.flatnonzero(mask)
        size = even_rows(len(real) + 1) if even else _up(len(real) + 1, ROW_MULTIPLE)
        cells = np.zeros(size, dtype=np.int64)
        cells[: len(real)] = real
        batch, length = mask.shape
        blocks = _up(batch, EXAMPLE_MULTIPLE) if fill else batch
        rows = np.full(blocks * length, len(real), dtype=np.int64)
        rows[real] = np.arange(len(real))
        bias = np.full((blocks, 1, length), NEVER, dtype=np.float32)
        bias[:batch, 0][mask] = 0
        starts = torch.from_numpy(_starts(mask, size)) if even else None
        of_rows = torch.from_numpy(cells), torch.from_numpy(rows)
        return cls((batch, length), len(real), *of_rows, torch.from_numpy(bias), starts, fill)

    def map(self, change: Callable[[Tensor], Tensor]) -> Packing:
        """The same with each tensor changed."""
        starts = None if self.starts is None else change(self.starts)
        cells, rows, bias = (change(part) for part in (self.cells, self.rows, self.bias))
        return Packing(self.shape, self.count, cells, rows, bias, starts, self.filled)

    def pack(self, padded: Tensor) -> Tensor:
        """From shape (batch, length, size) to (packed rows, size)."""
        flat = padded.reshape(-1, padded.shape[-1])
        return take(flat, self.cells, self.rows[: len(flat)], len(flat))

    def unpack(self, packed: Tensor) -> Tensor:
        """From shape (packed rows, size) to (batch, length, size); padding holds fill."""
        batch, length = self.shape
        rows = self.rows[: batch * length]
        if self.starts is not None:  # whatever depends on the number of tokens would be captured
            return packed.index_select(0, rows).view(batch, length, -1)
        return take(packed, rows, self.cells, self.count).view(batch, length, -1)

    def real(self, padded: Tensor, sample: Sample = slice(None)) -> Tensor:
        """Some real tokens of shape (batch, length, ...), shape (sampled, ...)."""
        cells = self.cells[: self.count] if isinstance(sample, slice) else self.cells
        return padded.flatten(0, 1).index_select(0, cells[sample])

    def at(self, example: Tensor, position: Tensor | int) -> Tensor:
        """The packed rows of tokens at places in their examples, shape (places,) each."""
        return self.rows[example * self.shape[1] + position]

    def sampled(self, packed: Tensor, sample: Sample) -> Tensor:
        """Some real tokens of shape (1, packed rows, size), shape (sampled, size)."""
        rows = sample
        if isinstance(sample, slice):
            rows = slice(sample.start, self.count, sample.step)
        return _Sample.apply(packed, rows)  # type: ignore[no-any-return, no-untyped-call]

    @property
    def firsts(self) -> Tensor:
        """Shape (batch,): the packed row of each example's first token."""
        batch, length = self.shape
        return self.rows[: batch * length : length]

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


def even_rows(count: int) -> int:
    """The least of the numbers of rows that even batches have, from `count` on.

    Golden: 65 -> 72, 1000 -> 1024, 1025 -> 1152.
    """
    return _up(count, _step(count))


def even_sample(rows: int, stride: int) -> int:
    """Tokens compared in an even batch of so many packed rows: every `stride`-th of the fewest.

    Golden: 1152 rows hold at least 1024 real tokens, at stride 2: 512.
    """
    return max(1, (rows - _step(rows)) // stride)


def _step(count: int) -> int:
    """The distance between the numbers of rows around `count`."""
    octave = max(0, (count - 1).bit_length() - 1)
    return max(EXAMPLE_MULTIPLE, (1 << octave) // STEPS_AN_OCTAVE)


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _starts(mask: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
    """Where sequences start: the examples, then as much fill as an even batch can have."""
    length = mask.shape[1]
    ends = np.cumsum(mask.sum(1))
    # A step is at most an eighth of the rows.
    fills = -(-size // (STEPS_AN_OCTAVE * length)) + 1
    fill = np.minimum(ends[-1] + length * np.arange(1, fills + 1), size)
    fill[-1] = size
    return np.concatenate([[0], ends, fill]).astype(np.int32)


class _Sample(torch.autograd.Function):
    """Rows of a slice; autograd's own chain of views would fill two buffers on the way back."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, rows: Sample) -> Tensor:
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
    if packing.starts is not None and varlen and fits_varlen(query) and not dropout:
        rows = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
        starts, longest = packing.starts, packing.shape[1]
        window = -1 if sliding_window is None else sliding_window - 1
        options = {"scale": scale, "window_size": (window, window)}
        return varlen(*rows, starts, starts, longest, longest, **options)[None], None
    query, key, value = (packing.split_heads(x) for x in (query, key, value))
    bias = packing.bias if sliding_window is None else packing.within(sliding_window - 1)
    bias = bias.to(query.dtype)
    # On CPUs the fused kernel's backward pass is the slower one; its forward pass is not, and holds
    # no scores of all pairs of tokens.
    slow = query.device.type == "cpu" and (packing.filled or torch.is_grad_enabled())
    attend = plain if slow else fused
    return packing.join_heads(attend(query, key, value, bias, scale, dropout), heads), None


def fits_varlen(query: Tensor) -> bool:
    """Whether torch's kernel for sequences of all lengths takes queries of shape (..., size)."""
    size = query.shape[-1]
    return query.is_cuda and query.dtype == torch.bfloat16 and size % 8 == 0 and size <= 256


def _varlen() -> Callable[..., Any] | None:
    """That kernel, since torch 2.11; Dao 2023, FlashAttention-2."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    wanted = {"scale", "window_size"}
    return varlen_attn if wanted <= set(inspect.signature(varlen_attn).parameters) else None


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, dropout: float) -> Tensor:
    """Attention as matrix products.

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


varlen = _varlen()
_no_mask: Callable[..., Any] = lambda *_, **__: None  # noqa: E731
AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
