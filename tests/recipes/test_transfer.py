"""Transfer sets: every augmentation, and what a set holds."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ADJECTIVES, NOUNS, sentence, small_config, small_tokenizer
from support.stepwise import Stepwise
from transformers import AutoModelForMaskedLM

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.recipes.augmentations import AUGMENTATIONS, obstacle
from kdnas.recipes.refilling import _filled
from kdnas.recipes.run_data import encode_corpus
from kdnas.recipes.similar_texts import MANY_TEXTS, similar_pairs
from kdnas.recipes.sources import Sources
from kdnas.recipes.transfer_set import (
    FILE,
    SHARES,
    _sources,
    as_rows_like,
    check_methods,
    fill_transfer_set,
    other_tasks,
    rows_of,
)
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.tasks import load_spec
from kdnas.tasks.examples import Examples
from kdnas.teachers.masked_lm import MaskedLM, has_masked_lm

TOKENIZER = small_tokenizer()


def table() -> np.ndarray:
    """Word embeddings in which the nouns lie together, and so do the adjectives."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(TOKENIZER), 16)).astype(np.float32)
    for i, words in enumerate((NOUNS, ADJECTIVES)):
        for token in TOKENIZER(words, add_special_tokens=False)["input_ids"]:
            vectors[token[0]] = 5 * np.eye(16)[i] + rng.normal(scale=0.1, size=16)
    return vectors


@pytest.fixture(scope="module")
def pairs() -> Examples:
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(80)]
    return Examples(texts[:40], texts[40:], np.arange(40) % 2)


@pytest.fixture(scope="module")
def singles(pairs: Examples) -> Examples:
    return Examples(
        pairs.text, None, np.linspace(0, 5, 40, dtype=np.float32), task_type="regression"
    )


def sources(own: Examples, corpus: list[str] | None = None) -> Sources:
    return Sources(rows_of(own), TOKENIZER, table(), corpus or [], drawn=20)


def drawn(method: str, source: Sources, count: int = 60) -> list[tuple[str, str | None]]:
    rng = np.random.default_rng(1)
    rows = [AUGMENTATIONS[method](source, rng) for _ in range(count)]
    return [row for row in rows if row is not None]


def test_swap_and_recombine(pairs: Examples) -> None:
    source = sources(pairs)
    own = set(rows_of(pairs))
    assert {(b, a) for a, b in drawn("swap", source)} <= own
    for first, second in drawn("recombine", source):
        assert first in pairs.text and second in (pairs.text_pair or [])
    assert len(set(drawn("recombine", source)) - own) > 40


def test_neighbours_share_words(pairs: Examples) -> None:
    rows = drawn("neighbours", sources(pairs))
    assert len(rows) > 40

    def shared(row: tuple[str, str | None]) -> int:
        return len(set(row[0].split()) & set((row[1] or "").split()))

    near, random_rows = (np.mean([shared(r) for r in part]) for part in (rows, rows_of(pairs)))
    assert near > random_rows + 1
    assert all(first != second for first, second in rows)


def test_masked_words(singles: Examples) -> None:
    rows = [text for text, _ in drawn("mask", sources(singles))]
    masked = [text for text in rows if TOKENIZER.mask_token in text]
    assert len(masked) > 20
    assert all(len(text.split()) == 7 for text in rows)


def test_words_are_replaced_by_near_ones(singles: Examples) -> None:
    source = sources(singles)
    for words in (NOUNS, ADJECTIVES):
        for word in set(words) & set(source.near_words):
            near = source.near_words[word]
            assert word not in near and len(set(near) & set(words)) >= 4
    own = set(singles.text)
    changed = [text for text, _ in drawn("replace", source) if text not in own]
    assert len(changed) > 30


def test_spans_are_consecutive_words(pairs: Examples) -> None:
    known = [*pairs.text, *(pairs.text_pair or [])]
    for first, second in drawn("span", sources(pairs)):
        assert sum(text in known for text in (first, second)) >= 1
        assert all(any(text in whole for whole in known) for text in (first, second or ""))


def test_corpus_rows(pairs: Examples, singles: Examples) -> None:
    rng = random.Random(5)
    corpus = [sentence(rng) for _ in range(50)]
    assert {text for text, _ in drawn("corpus", sources(singles, corpus))} <= set(corpus)
    for first, second in drawn("corpus", sources(pairs, corpus)):
        assert first in corpus and second in corpus and first != second


def test_own_rows_that_labels_disagree_on_are_all_kept(pairs: Examples) -> None:
    texts = [*pairs.text[:4], pairs.text[0]]
    own = Examples(texts, None, np.array([0, 1, 0, 1, 1]))
    made = fill_transfer_set(own, {}, sources(own), SHARES, 9, 0)
    assert made.examples.text[:5] == texts and made.methods.count("own") == 5
    assert made.examples.labels is not None
    assert made.examples.labels.tolist() == [0, 1, 0, 1, 1, *[-100] * 4]
    assert not set(made.examples.text[5:]) & set(texts)


def test_a_set_is_whole_labelled_where_it_can_be_and_the_same_again(pairs: Examples) -> None:
    rng = random.Random(7)
    other = Examples([sentence(rng) for _ in range(90)], [sentence(rng) for _ in range(90)])
    first, again, different = (
        fill_transfer_set(pairs, {"other": other}, sources(pairs), SHARES, 200, seed)
        for seed in (0, 0, 1)
    )
    assert rows_of(first.examples) == rows_of(again.examples)
    assert first.methods == again.methods and first.examples.text != different.examples.text
    rows = rows_of(first.examples)
    assert len(rows) == len(set(rows)) == 200
    assert rows[:40] == rows_of(pairs) and first.methods[:40] == ["own"] * 40
    assert first.methods.count("other") == 80
    assert set(first.methods) == {"own", "other", *SHARES} - {"corpus", "contexts"}
    labels = first.examples.labels
    assert labels is not None and labels.dtype == np.int64
    assert labels[:40].tolist() == pairs.labels.tolist() and set(labels[40:]) == {-100}


def test_scores_have_gaps_too_and_own_rows_stay_however_many(singles: Examples) -> None:
    made = fill_transfer_set(singles, {}, sources(singles), {"span": 1}, 60, 0)
    assert made.examples.labels is not None
    assert (
        np.isnan(made.examples.labels[40:]).all() and not np.isnan(made.examples.labels[:40]).any()
    )
    assert len(fill_transfer_set(singles, {}, sources(singles), SHARES, 10, 0).methods) == 40


def test_texts_that_run_out_end_the_set_early() -> None:
    own = Examples(["one", "two"], None, np.array([0, 1]))
    assert len(fill_transfer_set(own, {}, sources(own), {"span": 1}, 50, 0).methods) == 2


def test_the_file_holds_rows_methods_and_logits(pairs: Examples, tmp_path: Path) -> None:
    made = fill_transfer_set(pairs, {}, sources(pairs), SHARES, 60, 0)
    logits = np.arange(120, dtype=np.float32).reshape(60, 2)
    made.write(tmp_path / FILE, logits)
    lines = gzip.decompress((tmp_path / FILE).read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["text"], r["text_pair"]) for r in rows] == rows_of(made.examples)
    assert [r["logits"] for r in rows] == logits.tolist()
    assert [r["method"] for r in rows] == made.methods


def test_methods_that_cannot_be_used_are_left_out_or_refused(singles: Examples) -> None:
    source = sources(singles)
    closed = {m for m in AUGMENTATIONS if obstacle(m, source)}
    assert closed == {"swap", "recombine", "neighbours", "contexts", "corpus", "refill"}
    made = fill_transfer_set(singles, {}, source, SHARES, 120, 0)
    assert not set(made.methods) & closed
    with pytest.raises(KdnasError, match="transfer_methods has swap, but the task's rows have one"):
        check_methods({"swap": 1}, source)
    check_methods({"mask": 1}, source)


def test_questions_meet_other_contexts_and_never_change_places_with_them() -> None:
    asked = [f"where is number {i}?" for i in range(30)]
    places = [f"the river near city {i} has a market and film {i % 5}" for i in range(30)]
    own = Examples(asked, places, np.full(30, None, object), task_type="question-answering")
    source = replace(sources(own), alike=False)
    closed = {m for m in AUGMENTATIONS if obstacle(m, source)}
    assert closed == {"swap", "neighbours", "corpus", "refill"}
    with pytest.raises(KdnasError, match="transfer_methods has swap, but the two texts of a row"):
        check_methods({"swap": 1}, source)
    made = fill_transfer_set(own, {}, source, {"contexts": 1, "recombine": 1}, 80, 0)
    assert made.examples.labels is not None and made.examples.text_pair is not None
    assert len(made.examples) == 80 and set(made.methods) == {"own", "contexts", "recombine"}
    assert set(made.examples.text) <= set(asked) and set(made.examples.text_pair) <= set(places)
    assert all(label is None for label in made.examples.labels)


def test_rows_of_other_tasks_become_rows_like_the_tasks_own(
    pairs: Examples, singles: Examples
) -> None:
    flat = as_rows_like(singles, pairs, "x")
    assert flat.text_pair is None and set(flat.text) == {*pairs.text, *(pairs.text_pair or [])}
    with pytest.raises(KdnasError, match="transfer_tasks has x, whose rows have one text, not two"):
        as_rows_like(pairs, singles, "x")


def test_a_corpus_in_pairs_holds_every_text_once_as_single_or_first() -> None:
    rng = random.Random(3)
    texts = list(dict.fromkeys(sentence(rng) for _ in range(200)))
    alone, pairs = similar_pairs(texts, 0.5, seed=1)
    assert sorted([*alone, *(first for first, _ in pairs)]) == sorted(texts)
    assert abs(len(pairs) - len(texts) / 2) <= 2
    assert all(first != second and second in texts for first, second in pairs)
    assert similar_pairs(texts, 0.5, seed=1) == (alone, pairs)
    assert similar_pairs(texts, 0, seed=1)[1] == []


def test_an_encoded_corpus_in_pairs_is_as_long_as_its_texts() -> None:
    rng = random.Random(4)
    texts = list(dict.fromkeys(sentence(rng) for _ in range(60)))
    whole, paired = (
        encode_corpus(texts, share, TOKENIZER, 64, "regression") for share in (0.0, 0.5)
    )
    assert len(whole) == len(paired) == len(texts)
    separators = [
        int((part.input_ids == TOKENIZER.convert_tokens_to_ids("[SEP]")).sum())
        for part in (whole, paired)
    ]
    assert separators[0] == len(texts) and separators[1] > 1.4 * len(texts)


def test_rows_with_texts_of_the_evaluation_are_left_out(pairs: Examples) -> None:
    """Public data sets share sentences; a pair that is scored must not be taught."""
    rng = random.Random(11)
    other = Examples([sentence(rng) for _ in range(60)], [sentence(rng) for _ in range(60)])
    assert other.text_pair is not None
    held_out = frozenset([*other.text[:30], *other.text_pair[30:45], pairs.text[0]])
    corpus = [*other.text[:20], *(sentence(rng) for _ in range(20))]
    source = sources(pairs, corpus)
    made = fill_transfer_set(pairs, {"other": other}, source, SHARES, 250, 0, held_out)
    rows = rows_of(made.examples)
    own = set(pairs.text) | set(pairs.text_pair or [])
    for row, method in zip(rows, made.methods, strict=True):
        assert method == "own" or not {t for t in row if t not in own} & held_out
    assert pairs.text[0] in {text for row in rows for text in row}


def test_frequent_words_alone_still_have_neighbours() -> None:
    texts = [" ".join(words) for words in itertools.product("abcdef", repeat=4)]
    assert len(texts) > MANY_TEXTS
    alone, both = similar_pairs(texts, 0.5)
    assert len(alone) + len(both) == len(texts) and both


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with a masked-LM head."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("filler")
    AutoModelForMaskedLM.from_config(small_config()).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def test_words_are_refilled_by_a_masked_lm(
    pairs: Examples, singles: Examples, filler: Path, runtime: Runtime
) -> None:
    for own in (pairs, singles):
        source = sources(own)
        assert "masked-LM head" in (obstacle("refill", source) or "")
        source.masked_lm = MaskedLM.load(str(filler), 32, runtime)
        assert obstacle("refill", source) is None
        rows, whole = drawn("refill", source), {text for row in rows_of(own) for text in row}
        texts = [text for row in rows for text in row if text]
        assert len(rows) == 60 and (rows[0][1] is None) == (own.text_pair is None)
        assert all(len(text.split()) == 7 and "[" not in text for text in texts)
        changed = [text for text in texts if text not in whole]
        assert 0.3 * len(texts) < len(changed) < len(texts)
        again = sources(own)
        again.masked_lm = source.masked_lm
        assert drawn("refill", again) == rows


def test_refilled_words_are_the_likeliest_ones_but_the_word_itself() -> None:
    rng, words = np.random.default_rng(0), ["cat", "dog", *(f"w{i}" for i in range(20))]
    logits = torch.arange(22.0, 0, -1)[None]
    given = ("a [MASK] [MASK]", "[MASK]", ["Cat", "own"], logits, words, rng)
    made = {_filled(*given) for _ in range(90)}
    assert made == {f"a {word} own" for word in words[1:9]}
    unlikely = ("a [MASK]", "[MASK]", ["w19"], logits, words, rng)
    assert {_filled(*unlikely) for _ in range(90)} == {f"a {word}" for word in words[:8]}


@pytest.mark.parametrize("model_type", ["bert", "deberta", "modernbert"])
def test_masked_words_are_alike_in_bf16(model_type: str, runtime: Runtime, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = small_config(model_type)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    texts = ["the [MASK] sees the [MASK]", "the [MASK] bird"]
    found = []
    for used in (runtime, start_runtime(device="cpu", precision="bf16")):
        masked_lm = MaskedLM.load(str(tmp_path), 32, used)
        assert masked_lm is not None
        found.append(torch.cat(masked_lm.logits(texts, range(100))))
    torch.testing.assert_close(found[1], found[0], atol=0.01, rtol=0.05)


def test_texts_with_masks_of_their_own_stay(filler: Path, runtime: Runtime) -> None:
    source = Sources([("the [MASK] sees the cat", None)], TOKENIZER, table())
    source.masked_lm = MaskedLM.load(str(filler), 32, runtime)
    assert set(drawn("refill", source)) == set(source.rows)


def test_a_word_without_an_embedding_is_read_and_never_filled_in(
    runtime: Runtime, tmp_path: Path
) -> None:
    tokenizer = small_tokenizer()
    config = small_config(vocab_size=len(tokenizer))
    tokenizer.add_tokens(["kubernetes"])
    for part in (tokenizer, AutoModelForMaskedLM.from_config(config)):
        part.save_pretrained(tmp_path)
    source = Sources([("the cat sees the dog and kubernetes", None)], tokenizer, table())
    source.masked_lm = MaskedLM.load(str(tmp_path), 32, runtime)
    texts = [text for text, _ in drawn("refill", source)]
    assert len({*texts}) > 1 and all("kubernetes" not in text[:-10] for text in texts)
    assert "cat" in source.known_words and "kubernetes" not in source.known_words


def test_a_checkpoint_without_a_masked_lm_head_is_told(
    teacher_folder: Path, filler: Path, runtime: Runtime, tmp_path: Path
) -> None:
    assert has_masked_lm(str(filler)) and not has_masked_lm(str(teacher_folder))
    assert MaskedLM.load(str(teacher_folder), 32, runtime) is None
    broken = shutil.copytree(filler, tmp_path / "broken")
    shutil.copy(teacher_folder / "model.safetensors", broken)
    assert MaskedLM.load(str(broken), 32, runtime) is None


def test_a_task_says_whether_the_texts_of_a_pair_are_of_one_kind(
    make_run: Callable[..., Run],
) -> None:
    assert load_spec("qnli").pairs_alike is False and load_spec("mrpc").pairs_alike is None
    data = Stepwise(make_run()).inputs.data
    for said, alike in ((None, True), (False, False)):
        spec = data.spec.model_copy(update={"pairs_alike": said})
        found = _sources(Settings(), replace(data, spec=spec), None)
        assert (obstacle("swap", found) is None) == alike


def test_two_transfer_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / name / "task.yaml" for name in ("a", "b")]
    for file, label in zip(files, ("x", "y"), strict=True):
        file.parent.mkdir()
        file.write_text(f"text: text\nlabel: {label}\n")
    settings = Settings(transfer_tasks=tuple(map(str, files)))
    data: Any = None  # is not reached
    with pytest.raises(KdnasError, match="^transfer_tasks: .* are both called 'task'; give one of"):
        other_tasks(settings, data)
