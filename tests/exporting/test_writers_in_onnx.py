"""Encoder-decoders in ONNX Runtime: the same logits step by step, and the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from support.large_onnx import as_if_above_2_gb
from support.tiny_pairs import (
    PAD,
    VARIANTS,
    VOCABULARY,
    distinct_pair,
    pair_config,
    pair_data,
    tiny_pair,
)
from transformers import PreTrainedModel

from kdnas.distillation.generation import generate
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import write_in_onnx
from kdnas.exporting.agreement import TOLERANCE, check_agreement, check_texts, random_inputs
from kdnas.exporting.onnx import quantise
from kdnas.measure import InTorch, LatencySettings, measure_latency
from kdnas.measure.onnx import in_onnx, open_onnx, to_onnx
from kdnas.measure.onnx_graphs import cache_names, data_file, onnx_files, written_files
from kdnas.measure.onnx_sessions import Writer
from kdnas.runtime.device import Runtime
from kdnas.tasks.sequences.generate import writing_by
from kdnas.tasks.sequences.greedy import GreedyRules, greedy_config, greedy_rules

# An export of the three graphs takes three seconds a family.
QUICK: list[tuple[str, dict[str, Any]]] = [("bart", {}), ("t5", {}), ("t5", {"num_heads": 3})]
# Heads of T5 that make up less than the hidden size, and more.
SAMPLE = [
    pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow, id=f"{one[0]}-{i}")
    for i, one in enumerate([*VARIANTS, QUICK[-1], ("mt5", {"d_kv": 16})])
]
# What generation configs of checkpoints on the hub have.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"no_repeat_ngram_size": 2, "min_length": 6, "forced_eos_token_id": 2},
    {"forced_bos_token_id": 7, "bad_words_ids": [[1]], "suppress_tokens": [5, 9]},
    {"forced_eos_token_id": [90, 59], "suppress_tokens": [2]},
    {"eos_token_id": [2, 11, 12], "min_new_tokens": 3, "num_beams": 4, "length_penalty": 0.5},
]


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    """A model and its files."""
    model, path = tiny_pair("bart"), tmp_path_factory.mktemp("bart") / "model.onnx"
    to_onnx(model, path)
    return model, path


def rules_of(model: PreTrainedModel, longest: int = 12) -> GreedyRules:
    return greedy_rules(model, longest)[0]


@pytest.mark.parametrize(("model_type", "changes"), SAMPLE)
def test_same_logits_and_texts(
    model_type: str, changes: dict[str, Any], tmp_path: Path, runtime: Runtime
) -> None:
    """In each family, with cached keys and values, at any batch, length and padding."""
    model = distinct_pair(model_type, **changes)
    to_onnx(model, tmp_path / "model.onnx")
    writer = open_onnx(tmp_path / "model.onnx", rules_of(model))
    assert isinstance(writer, Writer)
    assert check_agreement(model, writer, 48) <= TOLERANCE
    data = pair_data()
    assert check_texts(model, writer, data, runtime, PAD) == len(data)
    written = write_in_onnx(writer, data, PAD)
    assert len({tuple(row) for row in written.tolist()}) > 10, (
        "texts hardly depend on their sources"
    )


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_generation_config_is_followed(
    settings: dict[str, Any], bart: tuple[PreTrainedModel, Path], runtime: Runtime
) -> None:
    """What transformers writes without beams is what the files write."""
    model, path = bart
    own = model.generation_config.__class__(**model.generation_config.to_diff_dict() | settings)
    data = pair_data()
    with writing_by(model, own):
        rules, left_out = greedy_rules(model, 12)
    own.update(num_beams=1, do_sample=False, max_new_tokens=12)
    with writing_by(model, own):
        theirs = generate(model, data, runtime, pad_id=PAD).numpy()
    ours = write_in_onnx(Writer(path, rules), data, PAD)
    assert left_out == [] and rules.max_new_tokens == 12
    assert ours.tolist() == theirs.tolist()
    with writing_by(model, greedy_config(rules)):
        assert generate(model, data, runtime, pad_id=PAD).numpy().tolist() == theirs.tolist()


def test_what_the_files_cannot_follow_is_named() -> None:
    model = tiny_pair("bart")
    model.generation_config.update(repetition_penalty=1.3, bad_words_ids=[[4], [5, 6]])
    rules, left_out = greedy_rules(model, 12)
    assert left_out == ["bad_words_ids", "repetition_penalty"] and rules.banned == (4,)
    model.generation_config.update(do_sample=True, temperature=0.7, repetition_penalty=1.0)
    assert greedy_rules(model, 12)[1] == ["bad_words_ids", "do_sample"]
    model.generation_config.update(decoder_start_token_id=None, bos_token_id=None)
    model.config.decoder_start_token_id = model.config.bos_token_id = None
    with pytest.raises(KdnasError, match="lacks decoder_start_token_id; add the token"):
        greedy_rules(model, 12)


def test_names_are_those_of_optimum(bart: tuple[PreTrainedModel, Path]) -> None:
    """Of files, inputs and outputs, as its ORTModelForSeq2SeqLM looks for them."""
    model, path = bart
    assert [file.name for file in onnx_files(path, writes=True)] == [
        "encoder_model.onnx",
        "decoder_model.onnx",
        "decoder_with_past_model.onnx",
    ]
    graphs = [onnx.load(file).graph for file in onnx_files(path, writes=True)]
    inputs = [{one.name for one in graph.input} for graph in graphs]
    outputs = [[one.name for one in graph.output] for graph in graphs]
    layers = int(model.config.decoder_layers)
    cached = [f"{i}.{s}.{k}" for i in range(layers) for s in ("decoder", "encoder")
              for k in ("key", "value")]  # fmt: skip
    assert cached == cache_names(layers)
    assert inputs[0] == {"input_ids", "attention_mask"}
    assert inputs[1] == {"input_ids", "encoder_attention_mask", "encoder_hidden_states"}
    assert inputs[2] == {
        "input_ids",
        "encoder_attention_mask",
        *(f"past_key_values.{name}" for name in cached),
    }
    assert outputs[0] == ["last_hidden_state"]
    assert outputs[1] == ["logits", *(f"present.{name}" for name in cached)]
    assert outputs[2] == ["logits", *(f"present.{name}" for name in cached if "decoder" in name)]


def test_another_text_is_refused(
    bart: tuple[PreTrainedModel, Path], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = bart
    data, writer = pair_data(), Writer(path, rules_of(model))

    class Words:
        def decode(self, ids: list[int], **_: Any) -> str:
            return " ".join(map(str, ids))

    object.__setattr__(data, "tokenizer", Words())
    other = tiny_pair("bart")
    with torch.no_grad():
        other.get_output_embeddings().weight.roll(1, 0)
        other.final_logits_bias[0, 17] = 30
    with pytest.raises(KdnasError, match=r"write '.*' where PyTorch writes '2 17 .*\(evaluation r"):
        check_texts(other, writer, data, runtime, PAD)
    with pytest.raises(KdnasError, match="differ from PyTorch's by"):
        check_agreement(other, writer, 48)


def test_equally_likely_tokens_may_differ(
    bart: tuple[PreTrainedModel, Path], runtime: Runtime
) -> None:
    """As far as both runtimes agree."""
    model = tiny_pair("bart")
    with torch.no_grad():  # two tokens ahead of all, of which PyTorch takes the second
        model.final_logits_bias[0, [20, 21]] = torch.tensor([200.0, 200.0])
        table = model.get_input_embeddings().weight
        table[21] = table[20]
    path = bart[1].with_name("tie.onnx")
    to_onnx(model, path)
    with torch.no_grad():
        model.final_logits_bias[0, 21] += 1e-3
    writer = Writer(path, rules_of(model))
    data = pair_data(examples=6)
    assert write_in_onnx(writer, data, PAD)[:, 1].tolist() == [20] * 6
    assert check_texts(model, writer, data, runtime, PAD) == 6


def test_each_graph_above_2_gb_has_one_file_of_weights_beside_it(
    bart: tuple[PreTrainedModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = bart
    as_if_above_2_gb(monkeypatch)
    to_onnx(model, tmp_path / "model.onnx")
    graphs = onnx_files(tmp_path / "model.onnx", writes=True)
    written = [*graphs, *map(data_file, graphs)]
    assert written_files(tmp_path / "model.onnx", writes=True) == written
    assert set(tmp_path.iterdir()) == set(written)
    rules, data = rules_of(model), pair_data(examples=6)
    both = Writer(path, rules), Writer(tmp_path / "model.onnx", rules)
    texts = [write_in_onnx(writer, data, PAD) for writer in both]
    assert np.array_equal(*texts)


def test_int8_covers_both_stacks(tmp_path: Path) -> None:
    model = tiny_pair("bart", vocab_size=4000)
    path = tmp_path / "model.onnx"
    to_onnx(model, path)
    for source, target in zip(
        onnx_files(path, writes=True), onnx_files(tmp_path / "int8.onnx", writes=True), strict=True
    ):
        quantise(source, target)
        assert target.stat().st_size < 0.45 * source.stat().st_size
    rules = rules_of(model)
    data = pair_data()
    plain, small = (Writer(tmp_path / f"{name}.onnx", rules) for name in ("model", "int8"))
    tokens = np.arange(3, 11)[None]
    inputs = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    inputs["decoder_input_ids"] = tokens[:, :5]
    said = [one.run(inputs)["logits"] for one in (plain, small)]
    assert np.abs(said[0] - said[1]).mean() < 0.3 * said[0].std()
    assert write_in_onnx(small, data, PAD).shape[0] == len(data)


@pytest.mark.slow
def test_writing_is_timed_in_both_runtimes() -> None:
    """Greedily, 32 tokens, whichever they are."""
    shape = {"d_model": 64, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256}
    deep, flat = (tiny_pair("bart", **shape, decoder_layers=n) for n in (6, 1))
    settings = LatencySettings(1, 32, 5)
    for runtime in (InTorch, in_onnx):
        latency = measure_latency(runtime(flat), runtime(deep), settings)
        assert latency.speedup > 1.5 and latency.student_ms > 0


def test_golden_rules() -> None:
    """No pair twice: behind 5 7 8 5, 7 is out."""
    rules = GreedyRules(5, 1, (2,), 9, no_repeat=2, banned=(3,))
    logits = np.zeros((1, VOCABULARY), np.float32)
    logits[0, [7, 3, 4]] = 3, 2, 1
    assert rules.choose(logits.copy(), np.array([[5, 8]])).tolist() == [7]
    assert rules.choose(logits.copy(), np.array([[5, 7, 8, 5]])).tolist() == [4]
    assert pair_config("bart").decoder_start_token_id == 2


def test_a_decoder_reads_tokens_of_its_own_vocabulary() -> None:
    """As that of a Marian with two vocabularies, the second of them the smaller one."""
    apart = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 40}
    model, most = tiny_pair("marian", **apart), {"input_ids": 0, "decoder_input_ids": 0}
    for inputs in random_inputs(model, ("input_ids", "attention_mask"), 48):
        with torch.inference_mode():
            model(**{name: torch.from_numpy(ids) for name, ids in inputs.items()})
        most = {name: max(found, inputs[name].max()) for name, found in most.items()}
    assert most["decoder_input_ids"] == 39 and most["input_ids"] > 90
