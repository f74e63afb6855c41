"""How many students are trained side by side on this machine, briefly or in full."""

from __future__ import annotations

import torch

from kdnas.errors import KdnasError
from kdnas.runs.context import Context
from kdnas.runtime.cores import free_cores, free_memory
from kdnas.runtime.side_by_side import can_fork
from kdnas.study.storage import GRPC

# A student in training: weights, gradients, two moments and copies of them, in fp32, for a
# student as large as its teacher; and its batches, signal and activations.
BYTES_PER_PARAMETER, BYTES = 24, 500_000_000
# They take no more than this share of the memory that is free.
MEMORY_SHARE = 0.5


def check_jobs(context: Context) -> None:
    """Raises KdnasError where --jobs asks for what this machine or storage cannot do."""
    wanted = context.settings.jobs
    if wanted in ("auto", 1) or _possible(context):
        return
    raise KdnasError(
        f"invalid --jobs {wanted}: on Linux and the CPU, without grpc:// and accelerate launch, "
        "students can be trained side by side; elsewhere start kdnas worker beside a search"
    )


def count_jobs(context: Context, left: int, params: int) -> int:
    """Processes that train students; 1 leaves all threads to this one.

    Args:
        context: Of the run.
        left: Students to train, or candidates to score.
        params: Of the teacher.
    """
    wanted = context.settings.jobs
    if not _possible(context) or left < 2:
        return 1
    if isinstance(wanted, int):
        return min(wanted, left)
    most = min(left, torch.get_num_threads())
    if most < 2:
        return 1
    room = int(MEMORY_SHARE * free_memory() / (BYTES + BYTES_PER_PARAMETER * params))
    return max(1, min(most, room, free_cores()))


def _possible(context: Context) -> bool:
    served = (context.settings.storage or "").startswith(GRPC)
    return can_fork(context.runtime.device) and not served
