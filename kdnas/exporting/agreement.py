"""Whether an ONNX file says what the PyTorch model says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.measure.onnx import Session
from kdnas.measure.quiet import computing
from kdnas.tasks.encode import padding_id

TOLERANCE = 1e-4
# (batch, length) of the inputs; the longest that the model reads comes on top, up to LONGEST.
SHAPES = ((1, 1), (1, 8), (3, 2), (2, 33), (5, 64))
LONGEST = 512

Inputs = dict[str, NDArray[np.int64]]


def check_agreement(model: PreTrainedModel, session: Session, longest: int) -> float:
    """The largest difference between their outputs, over batches, lengths and paddings.

    Args:
        model: The shipped student, in full precision on the CPU.
        session: Its ONNX file.
        longest: Tokens that the model reads at most.

    Raises:
        KdnasError: They differ by more than TOLERANCE.
    """
    worst = 0.0
    with computing(torch.device("cpu")):
        for inputs in inputs_for(model, session.names, longest):
            with torch.inference_mode():
                ours = model(**{name: torch.from_numpy(v) for name, v in inputs.items()})
            theirs = session.run(inputs).items()
            difference = max(float(np.abs(v - ours[name].numpy()).max()) for name, v in theirs)
            if not difference <= TOLERANCE:
                batch, length = inputs["input_ids"].shape
                raise KdnasError(
                    f"the ONNX file's logits differ from PyTorch's by {difference:.2g} at {batch} "
                    f"x {length} tokens (at most {TOLERANCE:g}); nothing was exported"
                )
            worst = max(worst, difference)
    return worst


def inputs_for(
    model: PreTrainedModel, names: tuple[str, ...], longest: int
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Random tokens of many shapes, with and without padding on the right."""
    rng, config = np.random.default_rng(0), model.config
    pad = padding_id(config)
    shapes = [shape for shape in SHAPES if shape[1] <= longest]
    for batch, length in (*shapes, (2, min(longest, LONGEST))):
        for padded in (False, True):
            ends = rng.integers(1, length + 1, batch) if padded else np.full(batch, length)
            mask = np.arange(length) < ends[:, None]
            ids = rng.integers(0, config.vocab_size, mask.shape)
            ids[ids == pad] += 1 if pad == 0 else -1
            inputs = {
                "input_ids": np.where(mask, ids, pad),
                "attention_mask": mask.astype(np.int64),
            }
            if "token_type_ids" in names:
                kinds = max(1, int(getattr(config, "type_vocab_size", 1)))
                inputs["token_type_ids"] = rng.integers(0, kinds, mask.shape) * mask
            yield inputs
