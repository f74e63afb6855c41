"""Processes of one `accelerate launch`: the first runs the command, the others help it train.

The others wait until the leading process calls them to a training, in which each computes its
share of every batch.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, reduce
from transformers import PreTrainedModel

from kdnas.errors import DivergedError, KdnasError

# The others wait through a whole search; a process that dies breaks its connections at once.
PATIENCE = timedelta(days=30)
# What transformers marks a model with that has its hooks.
HOOKED = "_output_capturing_hooks_installed"


class LostError(KdnasError):
    """Another process of a training ended."""


class Team:
    """This process among `size` that train together; rank 0 leads."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.working = False

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reads options, writes files and prints."""
        return self.rank == 0

    @contextmanager
    def calling(self, function: Callable[..., Any], *args: Any, **options: Any) -> Iterator[None]:
        """Lets the others call a function, with `team` and copied arguments, during the block.

        In the others, which are in that function already when they come here, this does nothing.

        Raises:
            KdnasError: Another process cannot take part, or died.
        """
        if self.leads and self.size > 1:
            self.broadcast((function, args, options))
            self._check(None)
            self.working = True
        try:
            yield
        except DivergedError:  # at the same step in all processes, which wait for the next call
            self.working = False
            raise
        self.working = False  # stays true where the work broke off

    def serve(self) -> None:
        """Calls what the leading process sends, until its command is done."""
        while True:
            problem, call = None, None
            try:
                call = self.broadcast(None)
            except LostError:
                raise
            except Exception as error:
                problem = (
                    f"process {self.rank} cannot take part in the training: {error}; set "
                    "KDNAS_CACHE to a folder that all processes see"
                )
            if call is None and problem is None:
                return
            if self._check(problem) and call:
                function, args, options = call
                with suppress(DivergedError):  # in all at the same step; the leader goes on or not
                    function(*args, **options, team=self)

    def broadcast(self, value: Any) -> Any:
        """The leading process's value, in every process; on the CPU where it has tensors."""
        if self.size == 1:
            return value
        parcel = [_packed(value) if self.leads else b""]
        with _connected():
            broadcast_object_list(parcel)
        # From the leading process of this very command, never from a file.
        return value if self.leads else pickle.loads(parcel[0])

    def total(self, flat: torch.Tensor) -> torch.Tensor:
        """The sum of all processes' tensors of one shape."""
        if self.size == 1:
            return flat
        with _connected():
            return reduce(flat, "sum")  # type: ignore[no-any-return]

    def _check(self, problem: str | None) -> bool:
        """Whether all can take part; the leading process raises the first problem."""
        with _connected():
            problems = gather_object([problem])
        first = next((each for each in problems if each), None)
        if first and self.leads:
            raise KdnasError(first)
        return first is None


ALONE = Team()
_team = ALONE


def team() -> Team:
    """The processes that train together; this one alone without `accelerate launch`."""
    return _team


def lead_or_follow(command: Callable[[], int]) -> int:
    """Runs a command in the first of several launched processes; the others help it train.

    Returns its exit code; the other processes end here, with 0.
    """
    global _team  # noqa: PLW0603
    # Objects go through gloo: waiting on NCCL would keep a GPU busy.
    gpu = torch.cuda.is_available()
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
    state = PartialState(cpu=not gpu, backend=backend, timeout=PATIENCE)
    _team = Team(state.process_index, state.num_processes)
    if not _team.leads:
        with suppress(LostError, KeyboardInterrupt):  # the leading process reports it
            _team.serve()
        _end(0)
    code = command()
    if _team.working:  # the others are in a training that broke off, and notice
        _end(code)
    _team.broadcast(None)
    PartialState().destroy_process_group()
    return code


def _end(code: int) -> NoReturn:
    """Ends this process at once: gloo's threads abort an orderly exit once others are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostError(
            f"another process of this training ended ({' '.join(str(error).split())[:120]}); "
            "continue from the last checkpoint with kdnas resume"
        ) from None


class _Pickler(pickle.Pickler):
    """Sends models as class, config and weights, and all tensors through the CPU.

    A model that its config does not describe, such as a pruned student, is sent as it is.
    """

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, PreTrainedModel) and not _is_of_its_config(value):
            return pickle.loads, (pickle.dumps(_without_hooks(value)),)
        if isinstance(value, PreTrainedModel):
            return _model, (type(value), value.config, value.state_dict(), value.training)
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            there = value.detach().cpu()
            if isinstance(value, torch.nn.Parameter):
                return torch.nn.Parameter, (there, value.requires_grad)
            return torch.as_tensor, (there,)
        return NotImplemented


def _is_of_its_config(model: PreTrainedModel) -> bool:
    """Whether its config makes a model with the same weights, tied alike."""
    with torch.device("meta"):
        same = type(model)(model.config)
    return _shapes(model) == _shapes(same)


def _without_hooks(model: PreTrainedModel) -> PreTrainedModel:
    """A copy on the CPU without the hooks that transformers sets at its first use."""
    found = copy.deepcopy(model).cpu()
    for module in found.modules():
        module._forward_hooks.clear()
        module.__dict__.pop(HOOKED, None)
    return found


def _shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    """Of each weight, and of tied ones by one of their names."""
    return {name: weight.shape for name, weight in model.named_parameters()}


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    return buffer.getvalue()


def _model(
    kind: Any, config: Any, weights: dict[str, torch.Tensor], training: bool
) -> PreTrainedModel:
    model: PreTrainedModel = kind(config)
    model.load_state_dict(weights)
    return model.train(training)
