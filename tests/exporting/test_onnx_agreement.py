"""Every family in ONNX Runtime: the same logits at any batch, length and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config, small_tokenizer
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from kdnas.errors import KdnasError
from kdnas.exporting.agreement import TOLERANCE, check_agreement, random_inputs
from kdnas.exporting.onnx import quantise
from kdnas.measure import InTorch, LatencySettings, count_params, measure_latency
from kdnas.measure.onnx import in_onnx, input_names, to_onnx
from kdnas.measure.onnx_sessions import Session
from kdnas.space.families import FAMILIES
from kdnas.teachers.tokenizer import longest_input

DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
}
VARIANTS = [*((family, {}) for family in FAMILIES), ("deberta-v2", DISENTANGLED)]


def decided(model_type: str = "bert", seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A small classifier with weights so large that its logits depend on its input."""
    torch.manual_seed(seed)
    config = small_config(model_type, **changes)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(6)
    return model


@pytest.mark.parametrize("head", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
def test_padding_that_attends_to_padding_alone_does_not_count(head: Any, tmp_path: Path) -> None:
    """A local window on nothing but padding is what a runtime makes of it."""
    torch.manual_seed(0)
    config = small_config("modernbert", local_attention=8, global_attn_every_n_layers=3)
    model = head.from_config(config).eval()
    tokenizer = small_tokenizer()
    names = input_names(model, tokenizer)
    to_onnx(model, tmp_path / "model.onnx", names)
    session = Session(tmp_path / "model.onnx")
    assert check_agreement(model, session, longest_input(config)) <= TOLERANCE
    # Other weights are told from these by real tokens.
    torch.manual_seed(1)
    with pytest.raises(KdnasError, match="logits differ"):
        check_agreement(head.from_config(config).eval(), session, 32)


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_same_logits(model_type: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model = decided(model_type, **changes)
    longest = longest_input(model.config)
    attention = model.config._attn_implementation
    tokenizer = small_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    names = input_names(model, tokenizer)
    one_kind = ("distilbert", "eurobert", "modernbert", "mpnet", "ultrabert")
    assert ("token_type_ids" in names) == (model_type not in one_kind)
    to_onnx(model, tmp_path / "model.onnx", names)
    session = Session(tmp_path / "model.onnx")
    assert set(session.names) <= set(names)  # DeBERTa has no kinds of tokens
    assert check_agreement(model, session, longest) <= TOLERANCE
    assert not model.training and model.config._attn_implementation == attention
    said = torch.cat(
        [torch.from_numpy(session.run(i)["logits"]) for i in random_inputs(model, names, 64)]
    )
    assert said.std(0).min() > 100 * TOLERANCE, "the logits hardly depend on the input"


def test_other_weights_are_refused(tmp_path: Path) -> None:
    to_onnx(decided(seed=1), tmp_path / "model.onnx")
    with pytest.raises(KdnasError, match="differ from PyTorch's by .* at 1 x 1 tokens"):
        check_agreement(decided(), Session(tmp_path / "model.onnx"), 64)


def test_int8_covers_the_word_embeddings(tmp_path: Path) -> None:
    """A byte a weight: most of a small student's are in that table."""
    model = decided(vocab_size=20_000)
    to_onnx(model, tmp_path / "model.onnx")
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    table = model.get_input_embeddings().weight.numel()
    assert table > 0.9 * count_params(model)
    whole, small = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("model", "int8"))
    assert whole > 4 * table and small < 1.3 * table


def test_padding_counts_for_nothing() -> None:
    model = decided()
    session = in_onnx(model)
    for inputs in random_inputs(model, session.names, 32):
        ends = inputs["attention_mask"].sum(1)
        alone = {name: rows[:1, : ends[0]] for name, rows in inputs.items()}
        assert (
            abs(session.run(inputs)["logits"][:1] - session.run(alone)["logits"]).max() < TOLERANCE
        )


def test_both_runtimes_are_timed_by_one_mechanism() -> None:
    wide = {"hidden_size": 128, "intermediate_size": 512}
    deep, flat = decided(num_hidden_layers=8, **wide), decided(num_hidden_layers=1, **wide)
    settings = LatencySettings(1, 64, 15)
    for runtime in (InTorch, in_onnx):
        latency = measure_latency(runtime(flat), runtime(deep), settings)
        assert latency.speedup > 1.5 and latency.student_ms > 0
