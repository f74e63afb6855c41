"""Whether a student in ONNX Runtime answers as it does in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.distillation.generation import generate
from kdnas.distillation.modules import readers_of
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import write_in_onnx
from kdnas.measure.latency import generates
from kdnas.measure.onnx import InOnnx
from kdnas.measure.onnx_sessions import Writer
from kdnas.measure.quiet import computing
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples
from kdnas.tasks.encode import padding_id
from kdnas.tasks.sequences.generate import writing_by
from kdnas.tasks.sequences.greedy import greedy_config

# Of logits, as a share of the largest where that is above 1.
TOLERANCE = 1e-4
# (batch, length) of the inputs that are compared; the longest input, up to LONGEST, comes on top.
SHAPES = ((1, 1), (1, 8), (3, 2), (2, 33), (5, 64))
LONGEST = 512
# Outputs of shape (batch, length).
BY_TOKEN = ("start_logits", "end_logits")
# Tokens that a decoder reads.
WRITTEN = (1, 2, 7, 12)
# Texts that are compared.
MOST_TEXTS = 200


def check_agreement(model: PreTrainedModel, session: InOnnx, longest: int) -> float:
    """The largest difference between their outputs, over batches, lengths up to longest, paddings.

    Raises KdnasError where it exceeds TOLERANCE.
    """
    worst = 0.0
    with computing(torch.device("cpu")):
        for inputs in random_inputs(model, session.names, longest):
            with torch.inference_mode():
                ours = model(**{name: torch.from_numpy(v) for name, v in inputs.items()})
            real = None if generates(model) else inputs["attention_mask"].astype(bool)
            found = session.run(inputs).items()
            difference = max(
                _difference(*(_answers(name, each, real) for each in (ours[name].numpy(), value)))
                for name, value in found
            )
            if not difference <= TOLERANCE:  # also where it is NaN
                batch, length = inputs["input_ids"].shape
                raise KdnasError(
                    f"the ONNX file's logits differ from PyTorch's by {difference:.2g} at {batch} "
                    f"x {length} tokens (at most {TOLERANCE:g}); nothing was exported"
                )
            worst = max(worst, difference)
    return worst


def _answers(
    name: str, values: NDArray[np.float32], real: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """What counts of an output: of one that has a value for each token, those of real tokens.

    Attention to nothing but padding, within a local window, is what a runtime makes of it.
    """
    by_token = values.ndim == 3 or name in BY_TOKEN
    return values[real] if by_token and real is not None else values


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    scale = max(1.0, float(np.abs(ours).max()))
    return float(np.abs(ours - theirs).max()) / scale


def random_inputs(
    model: PreTrainedModel, names: tuple[str, ...], longest: int
) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Random tokens of many shapes, with and without padding on the right; also for a decoder."""
    rng, config = np.random.default_rng(0), model.config
    pad = padding_id(config)
    shapes = [shape for shape in SHAPES if shape[1] <= longest]
    for turn, (batch, length) in enumerate((*shapes, (2, min(longest, LONGEST)))):
        for padded in (False, True):
            ends = rng.integers(1, length + 1, batch) if padded else np.full(batch, length)
            mask = np.arange(length) < ends[:, None]
            ids = _but(pad, rng.integers(0, config.vocab_size, mask.shape))
            inputs = {
                "input_ids": np.where(mask, ids, pad),
                "attention_mask": mask.astype(np.int64),
            }
            if "token_type_ids" in names:
                kinds = max(1, int(getattr(config, "type_vocab_size", 1)))
                inputs["token_type_ids"] = rng.integers(0, kinds, mask.shape) * mask
            if generates(model):
                read = batch, min(longest, WRITTEN[turn % len(WRITTEN)])
                words = len(readers_of(model)[-1].weight)  # Marian's may be others than its sources
                inputs["decoder_input_ids"] = _but(pad, rng.integers(0, words, read))
            yield inputs


def _but(pad: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens none of which pads: a model may count positions by them."""
    return np.where(ids == pad, pad + 1 if pad == 0 else pad - 1, ids)


def check_texts(
    model: PreTrainedModel, writer: Writer, data: EncodedExamples, runtime: Runtime, pad_id: int
) -> int:
    """How many of some sources were compared: both write the same texts for them, greedily.

    Where two tokens are equally likely, as far as the runtimes agree, either may be written.

    Raises:
        KdnasError: A text differs.
    """
    few = data.take(np.arange(min(MOST_TEXTS, len(data))))
    with writing_by(model, greedy_config(writer.rules)):
        ours = generate(model, few, runtime, pad_id=pad_id).numpy()
    theirs = write_in_onnx(writer, few, pad_id)
    for row in range(len(few)):
        pair = [_text(ids[row].tolist(), writer.rules.ends) for ids in (ours, theirs)]
        if pair[0] != pair[1] and not _tie(model, few.take(np.array([row])), *pair):
            said = [few.tokenizer.decode(ids, skip_special_tokens=True) for ids in pair]
            raise KdnasError(
                f"the ONNX files write {said[1]!r} where PyTorch writes {said[0]!r} (evaluation "
                f"row {row + 1}); nothing was exported"
            )
    return len(few)


def _text(ids: list[int], ends: tuple[int, ...]) -> list[int]:
    """A text's tokens up to the one that ends it."""
    last = next((at for at, token in enumerate(ids) if at and token in ends), len(ids))
    return ids[: last + 1]


@torch.inference_mode()
def _tie(model: PreTrainedModel, row: EncodedExamples, ours: list[int], theirs: list[int]) -> bool:
    """Whether the tokens in which two texts of a row part are as likely as each other."""
    shared = zip(ours, theirs, strict=False)
    at = next((i for i, (a, b) in enumerate(shared) if a != b), None)
    if not at:
        return False
    read: dict[str, Any] = {
        "input_ids": torch.from_numpy(row.input_ids.astype(np.int64))[None],
        "decoder_input_ids": torch.tensor([ours[:at]]),
    }
    logits = model(**read).logits[0, -1]
    gap = float(abs(logits[ours[at]] - logits[theirs[at]]))
    return gap <= 2 * TOLERANCE * max(1.0, float(logits.abs().max()))
