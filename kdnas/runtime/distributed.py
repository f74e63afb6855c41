"""Processes that `accelerate launch` started together: one leads, the others train along.

The leading process does all that a command does. The others wait until it calls them to a
training, in which each computes its share of every batch.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from kdnas.errors import KdnasError

# The others wait through a whole search. Who dies is noticed by its broken connections.
PATIENCE = timedelta(days=30)


class LostError(KdnasError):
    """Another process of a training ended."""


class Team:
    """This process among those that train together.

    Args:
        rank: Its number; 0 leads.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.working = False

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reads options, writes files and prints."""
        return self.rank == 0

    @contextmanager
    def calling(self, function: Callable[..., Any], *args: Any, **options: Any) -> Iterator[None]:
        """Has the others call a function while this process does what is inside.

        The others, who are in that function already when they come here, only go through.

        Args:
            function: Takes `team` beside the arguments.
            args: They go to the others as copies.
            options: Likewise.

        Raises:
            KdnasError: Another process cannot take part, or died.
        """
        if self.leads and self.size > 1:
            self.told((function, args, options))
            self._check(None)
            self.working = True
        yield
        self.working = False  # not where the work broke off

    def serve(self) -> None:
        """Does what the leading process calls for until it is done."""
        while True:
            problem, call = None, None
            try:
                call = self.told(None)
            except LostError:
                raise
            except Exception as error:
                problem = (
                    f"process {self.rank} cannot take part in the training: {error}; KDNAS_CACHE "
                    "must lie where all processes see it"
                )
            if call is None and problem is None:
                return
            if self._check(problem) and call:
                function, args, options = call
                function(*args, **options, team=self)

    def told(self, value: Any) -> Any:
        """The leading process's value, in every process; on the CPU where it has tensors."""
        if self.size == 1:
            return value
        parcel = [_packed(value) if self.leads else None]
        with _connected():
            dist.broadcast_object_list(parcel, src=0)
        return value if self.leads else _unpacked(parcel[0])

    def total(self, flat: torch.Tensor) -> torch.Tensor:
        """The sum of all processes' tensors of one shape."""
        if self.size > 1:
            with _connected():
                dist.all_reduce(flat)
        return flat

    def _check(self, problem: str | None) -> bool:
        """Whether all can take part; the leading process raises the first problem."""
        problems: list[str | None] = [None] * self.size
        with _connected():
            dist.all_gather_object(problems, problem)
        first = next((each for each in problems if each), None)
        if first and self.leads:
            raise KdnasError(first)
        return first is None


ALONE = Team()
_team = ALONE


def team() -> Team:
    """The processes that work with this one; itself alone unless a command was launched so."""
    return _team


def lead_or_follow(command: Callable[[], int]) -> int:
    """Runs a command in the first of several launched processes; the others help it train.

    Args:
        command: Returns its exit code.

    Returns:
        The command's exit code; the other processes end here, with 0.
    """
    global _team  # noqa: PLW0603
    # Words go through gloo: waiting on NCCL would keep a GPU busy.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    _team = Team(dist.get_rank(), dist.get_world_size())
    if not _team.leads:
        with suppress(LostError, KeyboardInterrupt):  # the leading process says what there is
            _team.serve()
        _end(0)
    code = command()
    if _team.working:  # the others are in a training that broke off, and see that
        _end(code)
    _team.told(None)
    dist.destroy_process_group()
    return code


def _end(code: int) -> NoReturn:
    """Ends this process at once: gloo's threads abort an orderly end where others are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostError(
            f"another process of this training ended ({' '.join(str(error).split())[:120]}); what "
            "it had reached is kept: kdnas resume goes on"
        ) from None


class _Pickler(pickle.Pickler):
    """Sends models as their class, config and weights, and all tensors by way of the CPU."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, PreTrainedModel):
            return _model, (type(value), value.config, value.state_dict(), value.training)
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            copy = value.detach().cpu()
            kind = type(value) if isinstance(value, torch.nn.Parameter) else torch.as_tensor
            return kind, (copy,)
        return NotImplemented


def _model(
    kind: Any, config: Any, weights: dict[str, torch.Tensor], training: bool
) -> PreTrainedModel:
    model: PreTrainedModel = kind(config)
    model.load_state_dict(weights)
    return model.train(training)


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    return buffer.getvalue()


def _unpacked(parcel: Any) -> Any:
    # From the leading process of this very command, never from a file.
    return pickle.loads(parcel)
