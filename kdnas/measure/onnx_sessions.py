"""ONNX files in ONNX Runtime, on the CPU: models that answer, and models that write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdnas.measure.latency import NEW_TOKENS, Pass
from kdnas.measure.onnx_graphs import PAST, PRESENT, cache_names, onnx_files
from kdnas.tasks.sequences.greedy import GreedyRules

Inputs = Mapping[str, NDArray[Any]]


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

    def run(self, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, of inputs of shape (batch, length)."""
        given = {name: inputs[name] for name in self.names}
        return dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass over a batch without padding."""
        inputs = _full(self.names, batch, length)
        return lambda: self.run(inputs)


class Writer:
    """An encoder-decoder in ONNX Runtime that writes greedily, with cached keys and values."""

    def __init__(self, path: Path, rules: GreedyRules) -> None:
        self._encoder, self._first, self._later = map(Session, onnx_files(path, writes=True))
        self.names, self.rules = self._encoder.names, rules

    def run(self, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
        """The `logits`, shape (batch, tokens, vocabulary), of what `decoder_input_ids` reads.

        The first half is one step, each further token a step of its own.
        """
        tokens, state = inputs["decoder_input_ids"], self._begin(inputs)
        length = tokens.shape[1]
        half = (length + 1) // 2
        logits = [self._step(state, tokens[:, :half])]
        logits += [self._step(state, tokens[:, at : at + 1]) for at in range(half, length)]
        return {"logits": np.concatenate(logits, axis=1)}

    def generate(self, inputs: Inputs, rules: GreedyRules | None = None) -> NDArray[np.int64]:
        """Token ids for a batch of sources, shape (batch, tokens), the decoder's first included.

        Shorter texts are filled with the padding token. `rules`: default its own.
        """
        rules, state = rules or self.rules, self._begin(inputs)
        rows = len(inputs["input_ids"])
        written, going = np.full((rows, 1), rules.start), np.ones(rows, bool)
        for _ in range(rules.max_new_tokens):
            logits = self._step(state, written[:, -1:])[:, -1]
            token = np.where(going, rules.choose(logits, written), rules.pad)
            written = np.hstack([written, token[:, None]])
            going &= ~np.isin(token, rules.ends)
            if not going.any():
                break
        return written

    def ready(self, batch: int, length: int) -> Pass:
        """Greedy writing of some new tokens, whichever they are, for a batch without padding."""
        inputs = _full(self.names, batch, length)
        always = GreedyRules(self.rules.start, self.rules.pad, (), NEW_TOKENS)
        return lambda: self.generate(inputs, always)

    def _begin(self, inputs: Inputs) -> dict[str, NDArray[Any]]:
        """What a first step reads beside its tokens."""
        return {
            "encoder_attention_mask": inputs["attention_mask"],
            "encoder_hidden_states": self._encoder.run(inputs)["last_hidden_state"],
        }

    def _step(self, state: dict[str, NDArray[Any]], tokens: NDArray[Any]) -> NDArray[np.float32]:
        """The logits behind some tokens; the state then has their keys and values, too."""
        begun = f"{PAST}.{cache_names(1)[0]}" in state
        found = (self._later if begun else self._first).run({**state, "input_ids": tokens})
        logits = found.pop("logits")
        state.update({name.replace(PRESENT, PAST, 1): kept for name, kept in found.items()})
        return logits


def _full(names: tuple[str, ...], batch: int, length: int) -> dict[str, NDArray[np.int64]]:
    """Inputs without padding."""
    tokens = np.ones((batch, length), np.int64)
    inputs = {name: np.zeros_like(tokens) for name in names}
    return inputs | {"input_ids": tokens, "attention_mask": tokens}
