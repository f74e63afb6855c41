"""ONNX files as torch writes them above 2 GB, of small models."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch


def as_if_above_2_gb(patch: pytest.MonkeyPatch) -> None:
    """The exporter writes each weight into a file of its own, beside the graph."""
    usual = torch.onnx.export

    def export(module: torch.nn.Module, inputs: Any, file: str, **options: Any) -> None:
        usual(module, inputs, file, **options)
        apart = {"save_as_external_data": True, "all_tensors_to_one_file": False}
        onnx.save_model(onnx.load(file), file, **apart)

    patch.setattr(torch.onnx, "export", export)
