"""ONNX: a transformers model as a file whose batch and length are free, and its sessions.

The model is traced (torch's exporter without `dynamo`): half a second a student where the newer
exporter takes ten, which a search would pay for each candidate, and ONNX Runtime fuses the result
at least as well. `kdnas export` compares the file with PyTorch.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.measure import InTorch, Timed
from kdnas.measure.latency import Pass
from kdnas.measure.quiet import computing
from kdnas.tasks import task_type_of

PACKAGES = ("onnxruntime", "onnx")
OPSET = 18
# What every model reads; a tokenizer may give more.
PLAIN_INPUTS = ("input_ids", "attention_mask")


def require_onnx(option: str) -> None:
    """Checks that what an option needs, ONNX Runtime and onnx, is installed.

    Raises:
        KdnasError: A package is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise KdnasError(
            f"{option} needs the package(s) {', '.join(missing)}, which are not installed; run "
            "pip install 'kdnas[onnx]'"
        )


def input_names(model: PreTrainedModel, tokenizer: Any) -> tuple[str, ...]:
    """The inputs that the tokenizer returns and the model accepts, in a fixed order."""
    takes = inspect.signature(model.forward).parameters
    given = [name for name in tokenizer.model_input_names if name in takes]
    return (*PLAIN_INPUTS, *(name for name in given if name not in PLAIN_INPUTS))


def to_onnx(model: PreTrainedModel, path: Path, names: Sequence[str] = PLAIN_INPUTS) -> None:
    """Writes an ONNX file with the named inputs, int64 (batch, length), and its task's outputs.

    The folder exists; a model above 2 GB keeps its weights in files beside it.
    """
    cpu = torch.device("cpu")
    outputs = task_type_of(model.config, type(model).__name__).onnx_outputs
    # The tracer's warnings say little: the comparison with PyTorch decides.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with computing(cpu), warnings.catch_warnings(action="ignore"):
        twin = copy.deepcopy(model).to(cpu).eval()  # type: ignore[arg-type]
        twin.set_attn_implementation("eager")  # plain products, which ONNX Runtime fuses
        mask = torch.ones(2, 8, dtype=torch.long)
        mask[1, 5:] = 0
        sample = {name: torch.zeros_like(mask) for name in names}
        sample |= {"input_ids": torch.ones_like(mask), "attention_mask": mask}
        torch.onnx.export(
            _Traced(twin, names, tuple(outputs)).eval(),
            tuple(sample[name] for name in names),
            str(path),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes={**{name: {0: "batch", 1: "length"} for name in names}, **outputs},
            opset_version=OPSET,
            dynamo=False,
        )


class _Traced(nn.Module):
    """A model with ordered inputs and outputs, as the tracer wants it."""

    def __init__(
        self, model: PreTrainedModel, names: Sequence[str], outputs: Sequence[str]
    ) -> None:
        super().__init__()
        self.model = model
        self.names, self.outputs = names, outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        return tuple(getattr(found, name) for name in self.outputs)


class Session:
    """An ONNX file in ONNX Runtime, on the CPU, with as many threads as torch has now."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that keep spinning after a pass would slow down the model that is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.names = tuple(each.name for each in self._session.get_inputs())
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, of inputs of shape (batch, length)."""
        given = {name: inputs[name] for name in self.names}
        return dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass over a batch without padding."""
        tokens = np.ones((batch, length), np.int64)
        inputs = {name: np.zeros_like(tokens) for name in self.names}
        inputs |= {"input_ids": tokens, "attention_mask": tokens}
        return lambda: self.run(inputs)


def in_onnx(model: PreTrainedModel) -> Session:
    """A model in ONNX Runtime, through a temporary file."""
    with tempfile.TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(model, path)
        return Session(path)


def in_runtime(model: PreTrainedModel, runtime: str) -> Timed:
    """A model ready to be timed in `torch`, on its device, or in `onnx`, on the CPU."""
    makers: dict[str, Any] = {"torch": InTorch, "onnx": in_onnx}
    timed: Timed = makers[runtime](model)
    return timed


def runtime_name(runtime: str) -> str:
    """The runtime's package and version, for reports."""
    package = {"torch": "torch", "onnx": "onnxruntime"}[runtime]
    return f"{package} {version(package)}"
