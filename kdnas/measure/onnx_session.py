"""ONNX Runtime: its sessions, and models in it as latency needs them."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.measure import InTorch, Timed
from kdnas.measure.onnx_convert import LOGITS, to_onnx
from kdnas.measure.timed import Pass

PACKAGES = ("onnxruntime", "onnx")


def require_onnx(option: str) -> None:
    """Refuses what needs ONNX Runtime where it is not installed.

    Args:
        option: What was asked for, for the message.

    Raises:
        KdnasError: It is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise KdnasError(
            f"{option} needs the package(s) {', '.join(missing)}, not installed here: "
            "pip install 'kdnas[onnx]'"
        )


class Session:
    """An ONNX file in ONNX Runtime, on the CPU, with as many threads as torch has now.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin when their model is done would slow down whichever is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.names = tuple(each.name for each in self._session.get_inputs())

    def logits(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Shape (batch, classes), from arrays of shape (batch, length)."""
        given = {name: inputs[name] for name in self.names}
        found: NDArray[np.float32] = self._session.run([LOGITS], given)[0]
        return found

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass over full-length examples."""
        tokens = np.ones((batch, length), np.int64)
        inputs = {name: np.zeros_like(tokens) for name in self.names}
        inputs |= {"input_ids": tokens, "attention_mask": tokens}
        return lambda: self.logits(inputs)


def in_onnx(model: PreTrainedModel) -> Session:
    """A model in ONNX Runtime; the file is gone once it is loaded."""
    with tempfile.TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(model, path)
        return Session(path)


def in_runtime(model: PreTrainedModel, runtime: str) -> Timed:
    """A model where it is to be timed: `torch`, on its device, or `onnx`, on the CPU."""
    makers: dict[str, Any] = {"torch": InTorch, "onnx": in_onnx}
    timed: Timed = makers[runtime](model)
    return timed


def runtime_name(runtime: str) -> str:
    """What a report says of it: package and version."""
    package = {"torch": "torch", "onnx": "onnxruntime"}[runtime]
    return f"{package} {version(package)}"
