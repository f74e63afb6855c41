"""What a checkpoint must be before anything is computed with it: whole, finite and without code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.tasks import EncodedExamples

# What names of tensors have in them that belong to the head of an encoder-decoder.
HEADS = ("lm_head", "cls.predictions", "final_logits_bias")


def check_inputs(data: EncodedExamples, config: Any) -> EncodedExamples:
    """Refuses tokens and token types for which the teacher has no embedding; returns the data.

    Raises:
        KdnasError: There is one.
    """
    token = int(data.input_ids.max(initial=0))
    kind = 0 if data.token_type_ids is None else int(data.token_type_ids.max(initial=0))
    given = {"vocab_size": ("token", token), "type_vocab_size": ("token type", kind)}
    for field, (what, largest) in given.items():
        # Some families have no token types, or 0 of them, and read none.
        size = getattr(config, field, None)
        if size and largest >= size:
            raise KdnasError(
                f"the teacher's tokenizer gives {what} {largest}, but the model's {field} is "
                f"{size}; give the tokenizer that the model was trained with"
            )
    return data


def check_weights(name: str, model: PreTrainedModel, info: Mapping[str, Any]) -> bool:
    """Refuses a body that transformers filled up, and weights that are not numbers.

    The pooler counts as part of the head, which may be fresh.

    Returns:
        Whether every tensor of the head came from the checkpoint.
    """
    missing = sorted(info["missing_keys"])
    unlike = {
        key: f"{key} is {_by(found)}, not {_by(expected)}"
        for key, found, expected in sorted(info["mismatched_keys"])
    }
    inside = [key for key in (*missing, *unlike) if _is_of_body(model, key)]
    problems = []
    if lacking := [key for key in missing if key in inside]:
        problems.append(f"the checkpoint lacks {_some(lacking)}")
    if misfits := [text for key, text in unlike.items() if key in inside]:
        problems.append(_some(misfits))
    if lacking and getattr(model.config, "tie_encoder_decoder", False):
        raise KdnasError(
            f"{name!r} shares its encoder's weights with its decoder (tie_encoder_decoder), which "
            f"transformers 5 does not load: the checkpoint lacks {_some(lacking)}; save it with "
            "the weights of both"
        )
    if problems:
        raise KdnasError(
            f"the weights of {name!r} do not fit its config: {'; '.join(problems)}; "
            "give the config.json that they were saved with"
        )
    for key, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise KdnasError(
                f"the weights of {name!r} are not finite: {key} holds NaN or infinity; "
                "give an undamaged checkpoint"
            )
    return not (missing or unlike)


def _is_of_body(model: PreTrainedModel, key: str) -> bool:
    if "pooler" in key:
        return False
    if model.config.is_encoder_decoder:  # some have no base model below which names could begin
        return not any(head in key for head in HEADS)
    return key.startswith(f"{model.base_model_prefix}.")


def _some(items: list[str]) -> str:
    rest = len(items) - 2
    return ", ".join(items[:2]) + (f" and {rest} more" if rest > 0 else "")


def _by(shape: Any) -> str:
    return "x".join(map(str, shape))


def refuse_code(name: str, config: dict[str, Any], part: str) -> None:
    """Refuses checkpoints with Python code of their own.

    Where transformers has a class of the same name it would leave that code out without a word,
    and the model would be another.
    """
    classes = config.get("auto_map")
    if classes:
        one = next(iter(classes.values())) if isinstance(classes, dict) else classes
        raise KdnasError(
            f"the {part} of {name!r} needs code of its own ({one}), which kdnas never "
            "runs; give a checkpoint of a family that transformers has"
        )
