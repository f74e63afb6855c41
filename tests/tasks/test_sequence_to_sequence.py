"""Targets as a decoder reads them, losses over a vocabulary, predictions as texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.tiny_pairs import tiny_pair
from support.tiny_writers import (
    BEGIN,
    END,
    GERMAN,
    PAD,
    WORDS,
    save_writer,
    writers_config,
    writers_tokenizer,
)
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    MBart50Tokenizer,
    MBartTokenizer,
)

from kdnas.distillation.batches import collate
from kdnas.errors import KdnasError
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, encode, load_spec
from kdnas.tasks.sequences import soft_targets
from kdnas.tasks.sequences.floor import LEAD, NEAREST
from kdnas.tasks.sequences.greedy import greedy_rules
from kdnas.tasks.sequences.targets import first_read, read_targets
from kdnas.tasks.types.values import object_rows
from kdnas.teachers.load import Teacher, load_teacher

KIND = TASK_TYPES["sequence-to-sequence"]
UNITS: Any = None  # which its losses do not read
SOURCES = ["the good cat sees the bad dog", "the dull film", "the river likes the bank"]
TARGETS = [("eht taccat", "other"), None, ("eht",)]


def examples(labels: Any = TARGETS, texts: list[str] = SOURCES) -> Examples:
    known = None if labels is None else object_rows(labels)
    return Examples(list(texts), labels=known, task_type=KIND.name)


def encoded(model_type: str = "bart", **given: Any) -> EncodedExamples:
    config = writers_config(model_type)
    tokenizer = writers_tokenizer(begins=model_type != "t5")
    return encode(examples(), tokenizer, 32, options=KIND.encode_options(given, config))


@pytest.mark.parametrize("model_type", ["bart", "t5", "marian", "mbart"])
def test_a_decoder_reads_what_its_model_would_make_of_the_labels(model_type: str) -> None:
    data = encoded(model_type)
    model = AutoModelForSeq2SeqLM.from_config(writers_config(model_type))
    assert data.labels is not None
    for example in (0, 2):
        batch = collate(data, np.array([example]), PAD)
        labels = batch.labels
        assert labels is not None and labels[-1] == END
        expected = model.prepare_decoder_input_ids_from_labels(labels[None])[0]
        read = batch.inputs["decoder_input_ids"][0]
        assert read[: len(expected)].tolist() == expected.tolist()


def test_units_are_target_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    data = encoded("t5")
    tokenizer = writers_tokenizer()
    first = tokenizer(TARGETS[0][0])["input_ids"]  # type: ignore[index]
    assert data.labels is not None and data.positions is not None
    counts = np.diff(data.unit_offsets)
    assert counts[0] == len(first) and counts[1] == 0
    assert data.labels[: len(first)].tolist() == first
    assert data.positions.tolist() == [*range(counts[0]), *range(counts[2])]
    assert KIND.truths(data).tolist() == TARGETS
    assert KIND.truths(data.take([2, 0])).tolist() == [TARGETS[2], TARGETS[0]]


def test_examples_without_targets_have_no_labels() -> None:
    options = KIND.encode_options({}, writers_config("bart"))
    data = encode(examples(None), writers_tokenizer(), 32, options=options)
    assert data.labels is None and data.unit_offsets.tolist() == [0, 0, 0, 0]
    assert collate(data, np.arange(3), PAD).inputs["decoder_input_ids"].shape == (3, 8)


def test_the_prefix_stands_before_each_source_and_in_the_config() -> None:
    config = writers_config("t5")
    options = KIND.encode_options({"source_prefix": "the good "}, config)
    assert options == {"max_target_length": 128, "source_prefix": "the good ", "start": PAD}
    tokenizer = writers_tokenizer()
    data = encode(examples(), tokenizer, 32, options=options)
    assert data.take([1]).input_ids.tolist() == tokenizer("the good " + SOURCES[1])["input_ids"]
    assert data.references is not None and data.references[1].read == "the good " + SOURCES[1]
    model = AutoModelForSeq2SeqLM.from_config(config)
    KIND.adapt(model, options)
    assert model.generation_config.max_new_tokens == 128
    # Whoever loads the model knows it.
    assert KIND.encode_options({}, model.config)["source_prefix"] == "the good "
    without = KIND.encode_options({"source_prefix": ""}, model.config)
    assert without["source_prefix"] == ""
    KIND.adapt(model, without)
    assert KIND.encode_options({}, model.config)["source_prefix"] == ""


def test_sources_are_cut_with_their_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    options = KIND.encode_options({"source_prefix": "the good "}, writers_config("t5"))
    encode(examples(), writers_tokenizer(), 5, "train", options)
    assert "train: 100% of the texts are cut at 5 tokens; their median length is 8" in (
        capsys.readouterr().out
    )


def test_targets_are_cut_at_their_longest(capsys: pytest.CaptureFixture[str]) -> None:
    options = KIND.encode_options({"max_target_length": 6}, writers_config("bart"))
    long = examples([("the cat sees the bad dog and more",), ("the",), ("the cat",)])
    data = encode(long, writers_tokenizer(), 32, "train", options)
    assert np.diff(data.unit_offsets).max() == 6 and data.labels is not None
    assert data.labels[5] == END
    assert "train: 1 target is cut at 6 tokens (raise --max-target-length)" in (
        capsys.readouterr().out
    )


def test_a_config_that_does_not_say_how_a_decoder_begins() -> None:
    with pytest.raises(KdnasError, match="lacks decoder_start_token_id or pad_token_id"):
        first_read(writers_config("t5", decoder_start_token_id=None))
    assert first_read(writers_config("mbart")) is None
    assert first_read(writers_config("bart")) == END and BEGIN != END


def save_mbart(folder: Path, kind: Any = MBartTokenizer, **changes: Any) -> Path:
    """A small mBART whose tokenizer marks texts with their language."""
    tokenizer = kind(**changes.pop("languages", {"src_lang": "en_XX", "tgt_lang": "de_DE"}))
    ids = {"pad_token_id": 1, "eos_token_id": 2, "vocab_size": len(tokenizer)}
    config = writers_config("mbart", **{**ids, "decoder_start_token_id": None, **changes})
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_mbart(folder: Path) -> Teacher:
    options = KIND.encode_options({}, AutoConfig.from_pretrained(folder))
    return load_teacher(str(folder), load_spec("multi30k"), options=options)


def test_a_tokenizer_without_the_language_of_targets_is_refused(tmp_path: Path) -> None:
    save_mbart(tmp_path, languages={})
    options = KIND.encode_options({}, AutoConfig.from_pretrained(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    encode(examples(None), tokenizer, 32, options=options)  # sources alone need none
    with pytest.raises(KdnasError, match=r"has none for targets; set tokenizer\.src_lang and tok"):
        encode(examples(), tokenizer, 32, options=options)
    with pytest.raises(KdnasError, match="has none for targets"):
        load_mbart(tmp_path)


@pytest.mark.parametrize(("kind", "first"), [(MBartTokenizer, "de_DE"), (MBart50Tokenizer, "</s>")])
def test_texts_begin_as_they_are_learnt(kind: Any, first: str, tmp_path: Path) -> None:
    teacher = load_mbart(save_mbart(tmp_path, kind))
    start = teacher.model.generation_config.decoder_start_token_id
    assert teacher.tokenizer.convert_ids_to_tokens(start) == first
    teacher.model.save_pretrained(tmp_path / "again")
    options = KIND.encode_options({}, teacher.model.config)
    data = encode(examples(), teacher.tokenizer, 32, options=options)
    assert data.decoder_ids is not None and data.decoder_ids[0] == start
    mixed = save_mbart(tmp_path / "mixed", kind, decoder_start_token_id=5)
    with pytest.raises(KdnasError, match=rf"trained to begin with what .*'{first}'.* to {start}$"):
        load_mbart(mixed)


def save_without_tokens(folder: Path, model_type: str, **said: Any) -> Path:
    """A model that is trained to begin with END; its generation config says `said` alone."""
    ids = {"pad_token_id": PAD, "bos_token_id": BEGIN}
    ids |= {"eos_token_id": END, "decoder_start_token_id": END}
    model = tiny_pair(model_type, vocab_size=WORDS, **ids)
    model.save_pretrained(folder)
    writers_tokenizer(begins=True).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": BEGIN, **said}))
    return folder


@pytest.mark.parametrize("model_type", ["bart", "t5", "encoder-decoder"])
def test_tokens_that_a_generation_config_lacks_are_those_of_the_config(
    model_type: str, tmp_path: Path
) -> None:
    """As transformers 5 saves two models in one; it reads them in the generation config alone."""
    place = save_without_tokens(tmp_path, model_type)
    assert greedy_rules(AutoModelForSeq2SeqLM.from_pretrained(place), 8)[0].start == END
    config = AutoConfig.from_pretrained(place)
    ids = torch.full((1, 5), 7)
    for options in ({}, KIND.encode_options({}, config)):
        model = load_teacher(str(place), None, options=options).model
        own = model.generation_config
        found = (own.decoder_start_token_id, own.eos_token_id, own.pad_token_id)
        assert found == (END, END, PAD)
        written = KIND.generate(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        assert written[0, 0] == END


def test_another_start_than_that_of_training_is_refused(tmp_path: Path) -> None:
    place = save_without_tokens(tmp_path, "bart", decoder_start_token_id=7)
    options = KIND.encode_options({}, AutoConfig.from_pretrained(place))
    expected = (
        r"\(decoder_start_token_id 7\), but is trained to begin with '</s>', as its config.json"
    )
    with pytest.raises(
        KdnasError, match=expected + r" says; set dec.* generation_config.json to 1$"
    ):
        load_teacher(str(place), None, options=options)
    load_teacher(str(place), None)  # which writes as its generation config says


@pytest.mark.parametrize(
    "idle",
    [
        {"temperature": 0.7, "top_k": 20, "top_p": 0.9},
        {"early_stopping": True, "length_penalty": 2.0},
        {"output_scores": True},
        {"use_cache": False, "cache_implementation": "static"},
    ],
)
def test_settings_without_effect_leave_a_generation_config_that_can_be_saved(
    idle: dict[str, Any], tmp_path: Path
) -> None:
    folder = save_writer(tmp_path / "bart")
    (folder / "generation_config.json").write_text(
        json.dumps({"decoder_start_token_id": END, "no_repeat_ngram_size": 2, **idle})
    )
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    KIND.adapt(model, KIND.encode_options({}, model.config))
    model.save_pretrained(tmp_path / "again")
    own = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "again").generation_config
    assert (own.max_new_tokens, own.no_repeat_ngram_size) == (128, 2)
    kept = {"use_cache"} if "use_cache" in idle else set()
    assert {name for name in idle if getattr(own, name) is not None} == kept


def test_settings_that_take_effect_stay() -> None:
    model = AutoModelForSeq2SeqLM.from_config(writers_config("bart"))
    used = {"num_beams": 4, "length_penalty": 2.0, "do_sample": True, "temperature": 0.7}
    model.generation_config.update(**used)
    KIND.adapt(model, KIND.encode_options({}, model.config))
    assert {name: getattr(model.generation_config, name) for name in used} == used


def test_an_invalid_generation_config_is_refused_before_any_training() -> None:
    model = AutoModelForSeq2SeqLM.from_config(writers_config("bart"))
    model.generation_config.pad_token_id = -1
    with pytest.raises(KdnasError, match=r"is invalid: `pad_token_id`.*mend its") as refusal:
        KIND.adapt(model, KIND.encode_options({}, model.config))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (" Ein Hund. ", ("Ein Hund.",)),
        (["a", "", None, "b"], ("a", "b")),
        (np.array(["a", "b"], dtype=object), ("a", "b")),
    ],
)
def test_targets_in_cells(cell: Any, found: tuple[str, ...]) -> None:
    assert read_targets(cell) == found


def test_the_loss_on_labels_is_the_models_own() -> None:
    model = AutoModelForSeq2SeqLM.from_config(writers_config("bart")).eval()
    data = encoded("bart")
    batch = collate(data, np.array([2, 0]), PAD)
    with torch.no_grad():
        output = model(**batch.inputs)
        logits = KIND.pick_logits(output, batch.units)
        labels = torch.full_like(batch.inputs["decoder_input_ids"], -100)
        assert batch.labels is not None
        labels[batch.units.example, batch.units.position] = batch.labels
        own = model(**batch.inputs, labels=labels).loss
    assert KIND.task_loss(logits, batch.labels, batch.units).item() == pytest.approx(own.item())
    assert KIND.count(batch.units, batch.labels) == len(batch.labels)
    nothing = torch.full_like(batch.labels, -100)
    assert KIND.task_loss(logits, nothing, batch.units) == 0


@pytest.mark.parametrize("kind", ["kl", "ce", "mse"])
@pytest.mark.parametrize("chunk", [1 << 24, 10])
def test_the_distance_over_a_vocabulary(
    kind: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks it has the value and the gradient of the plain formula."""
    monkeypatch.setattr(soft_targets, "CHUNK", chunk)
    torch.manual_seed(0)
    student, teacher = torch.randn(7, 5, requires_grad=True), torch.randn(7, 5)
    plain = student.detach().clone().requires_grad_()
    found = KIND.logit_loss(student, teacher, UNITS, 2.0, kind)
    usual = TASK_TYPES["classification"].logit_loss(plain, teacher, UNITS, 2.0, kind)
    torch.testing.assert_close(found, usual)
    (3 * found).backward()
    (3 * usual).backward()
    torch.testing.assert_close(student.grad, plain.grad)
    assert KIND.logit_loss(student[:0], teacher[:0], UNITS, 2.0, kind) == 0


def test_golden_distance() -> None:
    """As of classes: T = 2, student [1, 0], teacher [0, 1]."""
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert KIND.logit_loss(student, teacher, UNITS, 2.0, "kl").item() == pytest.approx(0.4898373)
    assert F.kl_div(
        (student / 2).log_softmax(-1), (teacher / 2).softmax(-1), reduction="batchmean"
    ).item() * 4 == pytest.approx(0.4898373)


def test_predictions_are_texts() -> None:
    data, tokenizer = encoded("bart"), writers_tokenizer(begins=True)
    ids = [tokenizer(text)["input_ids"] for text in SOURCES]
    longest = max(map(len, ids))
    said = np.array([[END, *row, *[PAD] * (longest - len(row))] for row in ids])
    texts = KIND.predictions(said, data)
    assert texts.tolist() == SOURCES
    answers = KIND.row_answers(said, (), data)
    assert [one["generated"] for one in answers] == list(texts)
    assert KIND.predictions_text(["a", "b"], data) == "a\nb\n"
    assert KIND.row_in_words(("a", "a", "b\nc"), (), examples(), 0) == "a / b c"


def test_the_floor_is_the_better_of_two_rules() -> None:
    texts = [f"{word} is one of them" for word in GERMAN]
    copies = examples([(text[: text.index(" one")],) for text in texts], texts)
    found = KIND.simple_model(copies, (), 0)
    assert found is not None and found[0] == LEAD
    assert list(found[1](examples(None, ["nine is it"]))) == ["nine is"]
    texts = [f"{word} {i} is one of them" for word in ("the", "cat") for i in range(12)]
    others = examples([(GERMAN[text.split()[0]],) for text in texts], texts)
    found = KIND.simple_model(others, (), 0)
    assert found is not None and found[0] == NEAREST
    assert list(found[1](examples(None, ["cat what"]))) == [GERMAN["cat"]]


def test_a_constant_answer_where_many_rows_have_it() -> None:
    [said] = KIND.constant_answers(object_rows([("yes",)] * 3 + [("no",)]), ())
    assert said.name == "yes"
    assert list(said.predict(examples())) == ["yes"] * 3
    assert KIND.constant_answers(object_rows([(str(i),) for i in range(50)]), ()) == ()


def limited(folder: Path, **length: int) -> Teacher:
    """A teacher that ends no text by itself; its checkpoint says how long they are.

    Its decoder has 16 positions.
    """
    save_writer(folder, max_position_embeddings=16)
    file = folder / "generation_config.json"
    own = {**json.loads(file.read_text()), **length, "suppress_tokens": [END]}
    file.write_text(json.dumps(own))
    return load_teacher(str(folder), None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, {"max_new_tokens": 16}),
        ({"max_length": 12}, {"max_length": 12}),
        ({"max_length": 64}, {"max_length": 17}),
        ({"max_new_tokens": 64}, {"max_new_tokens": 16}),
    ],
)
@torch.no_grad()
def test_texts_are_as_long_as_a_checkpoint_says_and_its_decoder_has_positions(
    said: dict[str, int], kept: dict[str, int], tmp_path: Path
) -> None:
    model = limited(tmp_path, **said).model
    found = {name: getattr(model.generation_config, name) for name in kept}
    assert found == kept
    ids = torch.full((1, 5), 7)
    written = KIND.generate(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert written.shape == (1, 12 if said == {"max_length": 12} else 17)
    assert greedy_rules(model, 128)[0].max_new_tokens == written.shape[1] - 1


def test_a_checkpoint_that_says_20_tokens_writes_as_many() -> None:
    model = AutoModelForSeq2SeqLM.from_config(writers_config("bart"))
    model.generation_config.update(max_length=20)
    KIND.adapt(model, KIND.encode_options({}, model.config))
    own = model.generation_config
    assert (own.max_length, own.max_new_tokens) == (20, None)
