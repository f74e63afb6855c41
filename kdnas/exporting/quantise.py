"""int8: weights of matrix products and embeddings in 8 bits, activations quantised as they come.

Word embeddings count: they are most of a small student's bytes. Weights use 7 of their 8 bits, so
that sums of products do not overflow on processors without VNNI, and the score that was checked
here holds there.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from kdnas.measure.quiet import computing

OPERATIONS = ("MatMul", "Gather")


def quantise(source: Path, target: Path) -> None:
    """Writes an ONNX file again with 8-bit weights, a scale a channel.

    Args:
        source: In full precision.
        target: Where to.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_unasked)  # it advises on a step that changes nothing here
    try:
        with computing(torch.device("cpu")):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(OPERATIONS),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
    finally:
        logging.getLogger().removeFilter(_unasked)


def _unasked(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
