"""Token classification: units, losses, answers, and what transformers' pipeline says."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Said, small_config, small_tokenizer
from support.tiny import save_animals, tagged_sentence
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast, pipeline

from kdnas import predict
from kdnas.distillation.batches import collate
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.training import heldout_losses, train
from kdnas.distillation.training import predict as logits_of
from kdnas.errors import KdnasError
from kdnas.evaluation.floor import floor_model
from kdnas.evaluation.scores import baseline, evaluate_model
from kdnas.runtime.device import Runtime
from kdnas.space import FAMILIES
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import (
    TASK_TYPES,
    Examples,
    TaskSpec,
    encode,
    load_data,
    load_spec,
)
from kdnas.tasks.class_weights import with_class_weights
from kdnas.tasks.load import TaskData
from kdnas.tasks.metrics import answers_of, metrics_of
from kdnas.tasks.sampling import hold_out, stratified_sample
from kdnas.tasks.tagging.words import joined_words
from kdnas.tasks.types.values import object_rows
from kdnas.teachers.load import Teacher, load_teacher

NER = TASK_TYPES["token-classification"]
LABELS = ("O", "B-animal", "I-animal", "B-place")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    folder = save_animals(tmp_path_factory.mktemp("ner"))
    return load_data(load_spec(folder / "animals.yaml"), folder)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return small_tokenizer()


def examples_of(*rows: tuple[list[str], list[int] | None]) -> Examples:
    texts, words = zip(*(joined_words(row) for row, _ in rows), strict=True)
    tags = [None if tags is None else tuple(tags) for _, tags in rows]
    labels = None if all(row is None for row in tags) else object_rows(tags)
    own = {"task_type": NER.name, "words": list(words), "classes": LABELS}
    return Examples(list(texts), labels=labels, **own)  # type: ignore[arg-type]


def byte_level(*, prefix: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer such as RoBERTa's."""
    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = (" ".join(tagged_sentence(rng)[0]) for _ in range(300))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **dict(zip(names, special, strict=True))
    )


def test_the_first_piece_of_a_word_carries_its_tag(tokenizer: Any) -> None:
    words, tags = ["the", "unbelievable", "\u200b", "cat", "", "market"], [0, 1, 0, 2, 0, 3]
    data = encode(examples_of((words, tags), ([], [])), tokenizer, 64)
    theirs = tokenizer([words], is_split_into_words=True)
    assert data.input_ids[: data.offsets[1]].tolist() == theirs["input_ids"][0]
    pieces = theirs.word_ids(0)
    firsts = [i for i, w in enumerate(pieces) if w is not None and w not in pieces[:i]]
    assert data.positions is not None and data.spans is not None and data.labels is not None
    assert data.positions.tolist() == firsts
    assert data.spans[:, 0].tolist() == [pieces[i] for i in firsts]
    assert data.labels.tolist() == [tags[pieces[i]] for i in firsts]
    assert data.unit_offsets.tolist() == [0, len(firsts), len(firsts)]
    assert len(firsts) < len(words)
    logits = np.eye(4)[data.labels]
    said = NER.predictions(logits, data)
    assert said.tolist() == [tuple(tags), ()] == NER.truths(data).tolist()


def marked_spaces(**how: Any) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer such as DeBERTa's, most of whose words begin with a lone `\u2581`."""
    pieces = [
        "<unk>",
        "<pad>",
        "<s>",
        "</s>",
        "\u2581",
        "\u2581the",
        "\u2581cat",
        *"abcehkmnrtu,.0(",
    ]
    tokenizer = Tokenizer(models.Unigram([(one, -1.0) for one in pieces], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**how)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


MARKED = {
    "metaspace": marked_spaces,
    "whole text": lambda: marked_spaces(split=False),
    "roberta": lambda: byte_level(prefix=True),
}


@pytest.mark.parametrize("make", MARKED.values(), ids=MARKED)
def test_a_lone_mark_of_a_space_is_the_first_piece_of_the_word_behind_it(make: Any) -> None:
    tokenizer, words = make(), ["market", "the", "cat", "(", "ham", "\u4e16", "the", "0", "."]
    theirs = tokenizer(words, is_split_into_words=True)
    pieces = theirs.word_ids()
    firsts = [i for i, w in enumerate(pieces) if w is not None and w not in pieces[:i]]
    lone = [i for i in firsts if theirs.tokens()[i] in ("\u2581", "\u0120")]
    assert 0 < len(lone) < len(firsts)
    tags = [1, 0, 1, 0, 2, 3, 0, 0, 0]
    data = encode(examples_of((words, tags)), tokenizer, 64)
    assert data.positions is not None and data.spans is not None and data.labels is not None
    assert data.input_ids.tolist() == theirs["input_ids"]
    assert data.positions.tolist() == firsts
    assert data.spans[:, 0].tolist() == [pieces[i] for i in firsts]
    assert data.labels.tolist() == [tags[pieces[i]] for i in firsts]
    answers = NER.row_answers(np.eye(4)[data.labels], LABELS, data)
    found = [(one["text"], one["start"], one["end"]) for one in answers[0]["entities"]]
    assert found == [("market", 0, 6), ("cat", 11, 14), ("ham", 17, 20), ("\u4e16", 21, 22)]


def test_all_pieces_train_and_first_ones_answer() -> None:
    words, tags, tokenizer = ["unbelievable", "cat"], [1, 2], byte_level()
    plain, every = (
        encode(examples_of((words, tags)), tokenizer, 64, options={"label_all_pieces": on})
        for on in (False, True)
    )
    assert plain.labels is not None and every.labels is not None
    counts = [len(tokenizer.tokenize(word)) for word in ("unbelievable", " cat")]
    wanted = [1, *[2] * (counts[0] - 1), *[2] * counts[1]]
    assert plain.labels.tolist() == [1, 2] and every.labels.tolist() == wanted
    assert counts[0] > 2
    logits = np.eye(4)[[3, *[0] * (counts[0] - 1), *[1] * counts[1]]]
    assert NER.predictions(logits, every).tolist() == [(3, 1)]


def test_words_behind_the_cut_are_told_and_count_as_misses(
    tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(["the", "cat"] * 10, [0, 1] * 10), (["the", "cat"], [0, 1])]
    data = encode(examples_of(*rows), tokenizer, 12, "validation")
    said = capsys.readouterr().out
    assert "validation: 50% of the texts are cut at 12 tokens" in said
    assert "; 10 words behind the cut of 1 text count as O" in said
    assert data.labels is not None
    entry = {"name": "t", "type": NER.name, "labels": LABELS}
    spec = TaskSpec.model_validate({**entry, "metrics": ["recall", "precision"]})
    found = metrics_of(spec, answers_of(spec, np.eye(4)[data.labels], data))
    assert found == {"recall": pytest.approx(6 / 11), "precision": 1.0}
    nothing = encode(examples_of(([], [])), tokenizer, 12)
    with pytest.raises(KdnasError, match="nothing to score for task 't': its rows have no words"):
        answers_of(spec, np.zeros((0, 4)), nothing)


@pytest.mark.parametrize("prefix", [False, True])
def test_byte_level_tokens_are_those_of_the_pipeline(prefix: bool) -> None:
    tokenizer = byte_level(prefix=prefix)
    words = ["the", "caf\u00e9", "Cat", ",", "market"]
    data = encode(examples_of((words, [0, 0, 1, 0, 3])), tokenizer, 64)
    text = " ".join(words)
    assert data.input_ids.tolist() == tokenizer(text)["input_ids"]
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert data.positions is not None
    begins = [
        text[offsets[i][0] :].lstrip().startswith(w)
        for i, w in zip(data.positions, words, strict=True)
    ]
    assert all(begins)


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(KdnasError, match="Slow does not tell where its tokens are in a text"):
        encode(examples_of((["a"], [0])), Slow(), 16)


def test_examples_keep_words_and_tags_together(task: TaskData, tokenizer: Any) -> None:
    train = task.splits["train"]
    data = encode(train, tokenizer, 64)
    rows = stratified_sample(data, 20, seed=1)
    part, wanted = data.take(rows), encode(train.take(rows), tokenizer, 64)
    assert part.fingerprint() == wanted.fingerprint() != data.fingerprint()
    kept, held = hold_out(train)
    assert (len(kept), len(held)) == (216, 24)
    both = encode(kept, tokenizer, 64).joined(encode(held, tokenizer, 64))
    assert len(NER.truths(both)) == len(train) == both.row_count


def test_logits_are_compared_on_words_and_hidden_states_on_all_tokens(
    task: TaskData, tokenizer: Any
) -> None:
    data = encode(task.splits["train"].take(range(6)), tokenizer, 64)
    batch = collate(data, np.arange(6), 0)
    words = sum(len(row) for row in NER.truths(data))
    assert LogitsLoss().count(batch) == TaskLoss().count(batch) == words
    assert batch.packing.count == len(data.input_ids) > words
    ours, theirs = torch.randn(words, 4), torch.randn(words, 4)
    loss = NER.logit_loss(ours, theirs, batch.units, 2.0, "kl")
    wanted = F.kl_div((ours / 2).log_softmax(-1), (theirs / 2).softmax(-1), reduction="batchmean")
    assert loss.item() == pytest.approx(4 * wanted.item(), rel=1e-5)
    labels = batch.labels
    assert labels is not None
    wanted = F.cross_entropy(ours, labels)
    assert NER.task_loss(ours, labels, batch.units).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert NER.class_counts(labels.numpy(), 4).sum() == words  # type: ignore[union-attr]


def test_class_weights_are_of_words(task: TaskData, tokenizer: Any) -> None:
    data = encode(task.splits["train"], tokenizer, 64)
    weighted = with_class_weights(data, task.spec, "balanced")
    assert weighted.class_weights is not None and data.labels is not None
    counts = np.bincount(data.labels)
    np.testing.assert_allclose(weighted.class_weights, counts.sum() / (4 * counts), rtol=1e-5)


@pytest.mark.parametrize("kind", ["kl", "ce", "mse"])
def test_a_batch_without_a_word_costs_nothing(kind: Any, tokenizer: Any) -> None:
    data = encode(examples_of(([], []), (["\u200b"], [0])), tokenizer, 64)
    batch, none = collate(data, np.arange(2), 0), torch.zeros(0, 4, requires_grad=True)
    for loss in (
        NER.logit_loss(none, none.detach(), batch.units, 2.0, kind),
        NER.task_loss(none, torch.zeros(0, dtype=torch.long), batch.units),
    ):
        loss.backward()
        assert loss.item() == 0


def test_as_many_entities_are_found_as_are_labelled(tokenizer: Any) -> None:
    """Golden: of 60 words that lean to O by 1/16 to 60/16, 30 are found at a bias of -1.875."""
    tagged = [(["the", "cat", "sat"], [0, 1, 1])] * 15 + [(["the", "cat", "sat"], [0, 0, 0])] * 5
    data = encode(examples_of(*tagged), tokenizer, 16)
    logits = np.zeros((60, 4), np.float32)
    logits[:, 0] = np.random.default_rng(0).permutation(np.arange(1, 61)) / 16
    logits[:, 1] += 1e-3  # each word an entity of its own
    bias = NER.choose_bias(logits, data, LABELS)
    assert bias is not None and bias.tolist() == [-1.875, 0, 0, 0]
    assert ((logits + bias).argmax(1) != 0).sum() == 30
    assert NER.choose_bias(logits + bias, data, LABELS) == pytest.approx(np.zeros(4))
    few = encode(examples_of(*tagged[1:]), tokenizer, 16)
    assert NER.choose_bias(logits[3:], few, LABELS) is None  # 28 entities
    unknown = encode(examples_of((["a"], None), *tagged), tokenizer, 16)
    more = np.vstack([[[0.0, 9.0, 0.0, 0.0]], logits]).astype(np.float32)
    assert NER.choose_bias(more, unknown, LABELS) == pytest.approx(bias)
    for names in (("X", "B-animal", "I-animal", "B-place"), ("O", "B-animal", "VERB", "ADJ")):
        assert NER.choose_bias(logits, data, names) is None
    assert NER.choose_bias(logits * np.nan, data, LABELS) is None
    assert NER.choose_bias(logits, replace(data, labels=None), LABELS) is None


@pytest.fixture(scope="module")
def trained(
    task: TaskData, tokenizer: Any, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint that has learnt the task, with a folder of its own."""
    torch.manual_seed(0)
    config = small_config("bert", **NER.head_config(LABELS))
    model = AutoModelForTokenClassification.from_config(config)
    data = encode(task.splits["train"], tokenizer, 64)
    losses = WeightedLosses({"task": (1.0, TaskLoss())})
    schedule = Schedule(10, 3e-3, 16, 0)
    train(model, losses, data, LiveSignal(model, runtime), schedule, runtime, pad_id=0)
    splits = {"validation": encode(task.splits["validation"], tokenizer, 64)}
    assert evaluate_model(model, splits, task.spec, runtime, 0)["f1"] > 0.9
    folder = tmp_path_factory.mktemp("trained") / "model"
    student_artifact(folder, {}, tokenizer).write(model)
    return folder


def test_answers_are_entities_with_their_characters(trained: Path) -> None:
    texts = ["  the dull cat, (the market)!", "the\tbright  dog", "a film", "", "\u200b"]
    found = predict(trained, texts)
    entities = [[(e["type"], e["text"]) for e in one["entities"]] for one in found]
    assert entities[0][0] == ("animal", "dull cat") and entities[1] == [("animal", "bright  dog")]
    assert entities[2:] == [[], [], []]
    for one in found:
        for entity in one["entities"]:
            assert one["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0 < entity["score"] <= 1
    [row] = predict(trained, [["the", "dull", "cat"]])
    assert row["text"] == "the dull cat"
    assert row["entities"][0] == pytest.approx(predict(trained, "the dull cat")[0]["entities"][0])


def test_tags_go_to_a_file_a_line_for_each_text(task: TaskData) -> None:
    assert task.spec.predictions_file("test").endswith(".txt")
    assert NER.predictions_text(["O B-animal", "", "O"], None) == "O B-animal\n\nO\n"


@pytest.mark.parametrize("strategy", ["simple", "first"])
def test_the_pipeline_of_transformers_agrees(trained: Path, task: TaskData, strategy: str) -> None:
    tagger = pipeline("token-classification", str(trained), aggregation_strategy=strategy)
    texts = task.splits["validation"].text
    for text, said in zip(texts, predict(trained, texts), strict=True):
        ours = [(e["type"], e["start"], e["end"]) for e in said["entities"]]
        theirs = [(e["entity_group"], e["start"], e["end"]) for e in tagger(text)]
        assert ours == theirs
        for one, other in zip(said["entities"], tagger(text), strict=True):
            assert one["score"] == pytest.approx(float(other["score"]), abs=1e-4)


def test_a_teachers_tags_are_matched_by_name_and_a_fresh_head_is_none(
    trained: Path, task: TaskData, tmp_path: Path, runtime: Runtime
) -> None:
    labels = ("B-place", "I-animal", "O", "B-animal")
    spec = task.spec.model_copy(update={"labels": labels})
    other = load_teacher(str(trained), spec)
    assert other.has_head and other.order == [3, 2, 0, 1]
    own = load_teacher(str(trained), task.spec)
    data = encode(task.splits["validation"], own.tokenizer, 64)
    ours, theirs = (logits_of(t.model, data, runtime, pad_id=0) for t in (own, other))
    torch.testing.assert_close(theirs, ours[:, [3, 2, 0, 1]])
    for kept in ("encoder", "classes"):
        folder = tmp_path / kept
        model = AutoModelForTokenClassification.from_pretrained(trained)
        if kept == "encoder":
            model.base_model.save_pretrained(folder)
        else:
            weights = {k: v for k, v in model.state_dict().items() if "classifier" not in k}
            model.save_pretrained(folder, state_dict=weights)
        own.tokenizer.save_pretrained(folder)
        assert not load_teacher(str(folder), task.spec).has_head
    with pytest.raises(KdnasError, match="has no trained head"):
        predict(folder, "a")


def test_outputs_in_another_order_are_noticed(
    trained: Path, task: TaskData, runtime: Runtime
) -> None:
    own = load_teacher(str(trained), task.spec)
    data = encode(task.splits["train"], own.tokenizer, 64)
    logits = logits_of(own.model, data, runtime, pad_id=0).numpy()
    assert data.labels is not None
    assert NER.better_order(logits, data.labels) is None
    order = NER.better_order(logits[:, [0, 2, 3, 1]], data.labels)
    assert order is not None and logits[:, [0, 2, 3, 1]][:, order].tolist() == logits.tolist()


def test_the_floor_and_the_constant_answer(task: TaskData, tokenizer: Any) -> None:
    found = floor_model(task.spec, task.splits["train"], seed=0)
    assert found is not None and found[0] == "word features, linear"
    validation = task.splits["validation"]
    scores = metrics_of(
        task.spec, answers_like(found[1](validation), NER.truths(validation), task.spec)
    )
    assert scores["f1"] > 0.9
    data = encode(validation, tokenizer, 64)
    constant = baseline(task.spec, [data], {"validation": data})
    assert constant is not None and constant["name"] == "always O"
    assert constant["scores"]["f1"] == 0
    empty = task.splits["train"].take([0])
    only = replace(empty, labels=object_rows([(0,) * len(empty.labels[0])]))  # type: ignore[index]
    assert floor_model(task.spec, only, seed=0) is None


def answers_like(predicted: Any, truth: Any, spec: TaskSpec) -> Any:
    from kdnas.tasks.metrics import known_rows

    return known_rows(spec, predicted, truth)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_tags_words_and_a_student_learns_from_it(
    family: str, make_teacher: Callable[..., Path], task: TaskData, runtime: Runtime
) -> None:
    from kdnas.space import Architecture
    from kdnas.students import build_student

    teacher = load_teacher(str(make_teacher(family)), task.spec)
    assert not teacher.has_head
    teacher = Teacher(teacher.name, teacher.model, teacher.tokenizer, True)
    data = encode(task.splits["train"].take(range(8)), teacher.tokenizer, 48)
    own = teacher.architecture
    student = build_student(teacher.model, Architecture(**{**own.params, "num_hidden_layers": 1}))
    assert type(student).__name__.endswith("ForTokenClassification")
    assert student.config.id2label == dict(enumerate(LABELS))
    source = LiveSignal(teacher.model, runtime)
    losses = WeightedLosses({"task": (1.0, TaskLoss()), "logits": (1.0, LogitsLoss())})
    train(student, losses, data, source, Schedule(1, 1e-3, 4, 0), runtime, pad_id=0)
    found = heldout_losses(student, losses, data, source, runtime, pad_id=0)
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("dev", "entry", "message"),
    [
        (
            "dog B-pet\n",
            "",
            "dev.conll, line 1, word 1: unknown tag 'B-pet'; expected one of O, B-animal,",
        ),
        (
            "dog B-animal\ncat\n",
            "",
            "dev.conll: none of 1 line can be used: line 2 has 1 field inst",
        ),
        ("", "", "dev.conll is empty; give a file with text"),
        (
            "dog O\n",
            "text: [a, b]",
            "token-classification reads 1 text a row, not 2; name one column",
        ),
        ("dog O\n", "metrics: [accuracy]", "metric 'accuracy' does not fit"),
        (
            "dog O\n",
            "labels: [O, NN, B-x]\nmetrics: f1",
            "the tag 'NN' is none of O, B-TYPE, I-TYPE",
        ),
        ("dog O\n", "format: squad", "unknown format 'squad'"),
    ],
)
def test_bad_input_ends_in_one_line(
    dev: str, entry: str, message: str, tmp_path: Path, command: Said
) -> None:
    save_animals(tmp_path)
    (tmp_path / "animals" / "dev.conll").write_text(dev)
    task = tmp_path / "animals.yaml"
    task.write_text(f"{task.read_text()}{entry}\n")
    out = tmp_path / "run"
    code, _ = command("search", "--task", task, "--data-dir", tmp_path, "--out", out)
    lines = [line for line in command.all.splitlines() if line.startswith("kdnas: ")]
    assert code == 2 and len(lines) == 1 and message in lines[0], command.all
    assert "Traceback" not in command.all and not out.exists()


def test_a_tag_without_a_part_is_named_with_one_that_has_one() -> None:
    entry = {"name": "t", "type": "token-classification", "labels": ["O", "b-cell", "name"]}
    with pytest.raises(
        ValueError, match="the tag 'name' is none of O, .* like, as 'b-cell' is; f1"
    ):
        TaskSpec.model_validate(entry)
