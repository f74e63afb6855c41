"""A teacher's checkpoint as a masked language model, where it has the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from kdnas.runtime.device import Runtime
from kdnas.teachers.load import load_config, load_tokenizer, load_weights
from kdnas.teachers.tokenizer import fit_embeddings, vocabulary_size

# Texts at a time: their logits over the whole vocabulary are large.
BATCH = 8
# A checkpoint whose class has one of these in its name was saved with the head.
WITH_HEAD = ("ForMaskedLM", "ForPreTraining")


def has_masked_lm(name: str) -> bool:
    """Whether a checkpoint has a masked-LM head, judged by its config and tokenizer."""
    config = load_config(name)
    known = type(config) in AutoModelForMaskedLM._model_mapping
    saved = any(str(kind).endswith(WITH_HEAD) for kind in config.architectures or ())
    return known and saved and load_tokenizer(name).mask_token is not None


@dataclass
class MaskedLM:
    """Predicts masked words.

    Attributes:
        model: With the head.
        tokenizer: Its own.
        known: Tokens that the checkpoint has embeddings of; those added to its tokenizer follow.
        length: Tokens at which texts are cut.
        runtime: Where it runs.
    """

    model: Any
    tokenizer: Any
    known: int
    length: int
    runtime: Runtime

    @classmethod
    def load(cls, name: str, length: int, runtime: Runtime) -> MaskedLM | None:
        """A checkpoint's; None where it has no head, or not all of it.

        Args:
            name: Hub id or folder.
            length: Tokens at which texts are cut.
            runtime: Where it runs.
        """
        if not has_masked_lm(name):
            return None
        model, info = load_weights(AutoModelForMaskedLM.from_pretrained, name)
        if info["missing_keys"]:
            return None
        tokenizer, known = load_tokenizer(name), int(model.config.vocab_size)
        fit_embeddings(model, tokenizer, vocabulary_size(name, model.config, tokenizer))
        if runtime.precision == "bf16":
            for parameter in model.parameters():  # all: DeBERTa's biases fail among bf16 states
                parameter.data = parameter.to(torch.bfloat16)
        model.eval().to(runtime.device)
        return cls(model, tokenizer, known, length, runtime)

    @torch.no_grad()
    def logits(self, texts: Sequence[str], tokens: Sequence[int]) -> list[Tensor]:
        """For each text the logits of some tokens at its masks, shape (masks, tokens), in order.

        Masks beyond the length at which texts are cut are left out.
        """
        found: list[Tensor] = []
        for start in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
            ).to(self.runtime.device)
            with self.runtime.autocast():
                logits = self.model(**batch).logits
            masks = batch["input_ids"] == self.tokenizer.mask_token_id
            chosen = torch.as_tensor(tokens, device=logits.device)
            rows = zip(logits, masks, strict=True)
            found += [row[mask][:, chosen].float().cpu() for row, mask in rows]
        return found
