"""Attention by torch's fused kernel against plain products: forward alone, and with backward.

python benchmarks/attention.py --repeats 12
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from command_line import a_count, in_one_line

from kdnas.distillation.packing import fused, plain

WARM_UP = 3
SHAPES = (
    *((32, 12, 32, 32), (32, 6, 32, 32), (32, 12, 64, 32), (32, 12, 128, 64)),
    *((32, 12, 208, 32), (16, 12, 384, 32)),
)


def milliseconds(step: Callable[[], object], repeats: int) -> float:
    """Median time of a step."""
    times = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[WARM_UP:])


def compare(
    shape: tuple[int, int, int, int], dtype: torch.dtype, repeats: int, *, trains: bool
) -> tuple[float, float]:
    """Milliseconds of fused and plain attention with a mask; `trains` adds the backward pass."""
    batch, heads, length, size = shape
    made = [torch.randn(batch * heads, length, size, dtype=dtype) for _ in range(3)]
    query, key, value = (x.requires_grad_(trains) for x in made)
    bias = torch.zeros(batch, 1, length, dtype=dtype)

    def of(attend: Callable[..., torch.Tensor]) -> float:
        def step() -> None:
            out = attend(query, key, value, bias, size**-0.5, 0.0)
            if trains:
                torch.autograd.backward(out.sum())

        return milliseconds(step, repeats)

    return of(fused), of(plain)


@in_one_line()
def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=a_count, default=12, help="Timed steps of each kind.")
    args = parser.parse_args()
    torch.manual_seed(0)
    print("| examples x heads x tokens x size | precision | pass | fused, ms | plain, ms | ratio |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            for trains in (False, True):
                kernel, products = compare(shape, dtype, args.repeats, trains=trains)
                name, what = str(dtype).removeprefix("torch."), "both" if trains else "forward"
                cells = f"{kernel:.1f} | {products:.1f} | {kernel / products:.2f}"
                print(f"| {'x'.join(map(str, shape))} | {name} | {what} | {cells} |")


if __name__ == "__main__":
    main()
