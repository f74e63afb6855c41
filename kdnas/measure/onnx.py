"""ONNX: a transformers model as files whose batch and length are free.

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
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.measure import InTorch, Timed
from kdnas.measure.latency import NEW_TOKENS, generates
from kdnas.measure.onnx_graphs import data_file, graphs_of, onnx_files
from kdnas.measure.onnx_sessions import Session, Writer
from kdnas.measure.quiet import computing
from kdnas.tasks.sequences.greedy import GreedyRules, greedy_rules

PACKAGES = ("onnxruntime", "onnx")
OPSET = 18
# What every model reads; a tokenizer may give more.
PLAIN_INPUTS = ("input_ids", "attention_mask")

InOnnx = Session | Writer


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
    """Writes ONNX files with the named inputs, int64 (batch, length): those of `onnx_files`.

    A model has its task's outputs; one that writes is an encoder and a decoder with cached keys and
    values. The folder exists; a graph above 2 GB keeps its weights in a file beside it.
    """
    cpu = torch.device("cpu")
    # The tracer's warnings say little: the comparison with PyTorch decides.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with computing(cpu), warnings.catch_warnings(action="ignore"):
        twin = copy.deepcopy(model).to(cpu).eval()  # type: ignore[arg-type]
        twin.set_attn_implementation("eager")  # plain products, which ONNX Runtime fuses
        files = onnx_files(path, writes=generates(model))
        for file, graph in zip(files, graphs_of(twin, names), strict=True):
            with tempfile.TemporaryDirectory(prefix=".onnx-", dir=file.parent) as apart:
                made = Path(apart) / file.name
                torch.onnx.export(
                    graph.module.eval(),
                    tuple(graph.inputs.values()),
                    str(made),
                    input_names=list(graph.inputs),
                    output_names=list(graph.outputs),
                    dynamic_axes=dict(graph.axes),
                    opset_version=OPSET,
                    dynamo=False,
                )
                _put_in_place(made, file)


def _put_in_place(made: Path, file: Path) -> None:
    """Moves a graph that was exported into a folder of its own.

    Of one above 2 GB the exporter writes a file for each weight, by names that other graphs of a
    model have, too: they become one file of this graph.
    """
    data_file(file).unlink(missing_ok=True)
    if len(list(made.parent.iterdir())) == 1:
        made.replace(file)
        return
    import onnx

    beside = {"save_as_external_data": True, "location": data_file(file).name}
    onnx.save_model(onnx.load(made), file, **beside)


def open_onnx(path: Path, rules: GreedyRules | None = None) -> InOnnx:
    """What `to_onnx` wrote, in ONNX Runtime; of a model that writes with `rules` how it does."""
    return Writer(path, rules) if rules else Session(path)


def rules_of(model: PreTrainedModel) -> GreedyRules | None:
    """How a model writes in ONNX Runtime; None for one that does not write."""
    return greedy_rules(model, NEW_TOKENS)[0] if generates(model) else None


def in_onnx(model: PreTrainedModel) -> InOnnx:
    """A model in ONNX Runtime, through temporary files."""
    with tempfile.TemporaryDirectory(prefix="kdnas-onnx-") as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(model, path)
        return open_onnx(path, rules_of(model))


def in_runtime(model: PreTrainedModel, runtime: str) -> Timed:
    """A model ready to be timed in `torch`, on its device, or in `onnx`, on the CPU."""
    makers: dict[str, Any] = {"torch": InTorch, "onnx": in_onnx}
    timed: Timed = makers[runtime](model)
    return timed


def runtime_name(runtime: str) -> str:
    """The runtime's package and version, for reports."""
    package = {"torch": "torch", "onnx": "onnxruntime"}[runtime]
    return f"{package} {version(package)}"
