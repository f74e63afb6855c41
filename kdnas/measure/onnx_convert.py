"""From a transformers model to an ONNX file whose batch and length are free.

The model is traced (torch's exporter without `dynamo`): half a second a student where the newer
exporter takes ten, which a search would pay for each candidate, and ONNX Runtime fuses the result
at least as well. What tracing may lose, `kdnas.exporting.agreement` would find.
"""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.measure.quiet import computing

OPSET = 18
LOGITS = "logits"
# What every model reads; a tokenizer may give more.
PLAIN_INPUTS = ("input_ids", "attention_mask")


def input_names(model: PreTrainedModel, tokenizer: Any) -> tuple[str, ...]:
    """The inputs that a tokenizer gives and a model takes, in a fixed order."""
    takes = inspect.signature(model.forward).parameters
    given = [name for name in tokenizer.model_input_names if name in takes]
    return (*PLAIN_INPUTS, *(name for name in given if name not in PLAIN_INPUTS))


def to_onnx(model: PreTrainedModel, path: Path, names: Sequence[str] = PLAIN_INPUTS) -> None:
    """Writes an ONNX file with the named inputs, int64 (batch, length), and the output `logits`.

    Beyond 2 GB its weights lie in files beside it.

    Args:
        model: A sequence classifier; it is not changed.
        path: Of the file; its folder exists.
        names: Of the inputs.
    """
    cpu = torch.device("cpu")
    with computing(cpu), _silence():
        twin = copy.deepcopy(model).to(cpu).eval()  # type: ignore[arg-type]
        twin.set_attn_implementation("eager")  # plain products, which ONNX Runtime fuses
        mask = torch.ones(2, 8, dtype=torch.long)
        mask[1, 5:] = 0
        sample = {name: torch.zeros_like(mask) for name in names}
        sample |= {"input_ids": torch.ones_like(mask), "attention_mask": mask}
        torch.onnx.export(
            _Logits(twin, names).eval(),
            tuple(sample[name] for name in names),
            str(path),
            input_names=list(names),
            output_names=[LOGITS],
            dynamic_axes={
                **{name: {0: "batch", 1: "length"} for name in names},
                LOGITS: {0: "batch"},
            },
            opset_version=OPSET,
            dynamo=False,
        )


class _Logits(nn.Module):
    """A sequence classifier whose inputs have an order and whose output is one tensor."""

    def __init__(self, model: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


@contextmanager
def _silence() -> Iterator[None]:
    """Tracing warns of what the comparison with PyTorch decides."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
