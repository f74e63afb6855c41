"""Forward and backward of attention in training: torch's fused kernel against plain products.

python benchmarks/attention.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

REPEATS = 15
SHAPES = ((32, 12, 32, 32), (32, 6, 32, 32), (32, 12, 64, 32), (32, 12, 128, 64))


def milliseconds(step: Callable[[], None]) -> float:
    """Median time of a step."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[3:])


def plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention as matrix products, the softmax in fp32."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + mask
    return torch.softmax(scores.float(), -1).to(query.dtype) @ value


def compare(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[float, float]:
    """Milliseconds of fused and plain attention, forward and backward, with a mask."""
    batch, heads, length, size = shape
    leaves = [torch.randn(batch, length, heads, size, dtype=dtype) for _ in range(3)]
    query, key, value = (x.requires_grad_().transpose(1, 2) for x in leaves)
    mask = torch.zeros(batch, 1, length, length, dtype=dtype)

    def fused() -> None:
        total = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).sum()
        torch.autograd.backward(total, retain_graph=True)

    def products() -> None:
        torch.autograd.backward(plain(query, key, value, mask).sum(), retain_graph=True)

    return milliseconds(fused), milliseconds(products)


def main() -> None:
    """Prints a table."""
    torch.manual_seed(0)
    print("| batch x heads x tokens x size | precision | fused, ms | plain, ms | ratio |")
    print("|---|---|---|---|---|")
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            fused, products = compare(shape, dtype)
            name = str(dtype).removeprefix("torch.")
            label = "x".join(map(str, shape))
            ratio = fused / products
            print(f"| {label} | {name} | {fused:.1f} | {products:.1f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
