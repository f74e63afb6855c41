"""Teachers of a family's own kind that take milliseconds, and data that they can learn."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from kdnas.space import family_of

NOUNS = ["cat", "dog", "bird", "film", "actor", "plot", "river", "market", "bank", "city"]
VERBS = ["likes", "sees", "sells", "finds", "follows", "helps"]
ADJECTIVES = ["good", "bad", "dull", "bright", "slow", "quick"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def sentence(rng: random.Random) -> str:
    """A short English sentence."""
    words = [rng.choice(part) for part in (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS)]
    return " ".join(["the", *words[:3], "the", *words[3:]])


def small_tokenizer(**changes: Any) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer trained on such sentences."""
    rng = random.Random(0)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL)
    tokenizer.train_from_iterator((sentence(rng) for _ in range(500)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        **changes,
    )


SHAPE = {
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
}


# What would otherwise not matter to inputs so short.
SHORT: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 8},
    "ultrabert": {"sliding_window": 4},
}


def small_config(model_type: str = "bert", **changes: Any) -> Any:
    """A config of a family, small and otherwise with the family's own values."""
    family = family_of(model_type, model_type)
    values = {family.field_name(name): value for name, value in SHAPE.items()}
    values |= {"vocab_size": 200, "pad_token_id": 0, "max_position_embeddings": 70}
    config = AutoConfig.for_model(model_type, **values, **SHORT.get(model_type, {}))
    for follower, leader in family.follows.items():
        setattr(config, follower, getattr(config, leader))
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def save_teacher(folder: Path, model_type: str = "bert", **changes: Any) -> Path:
    """A small teacher and its tokenizer in a folder, without a head."""
    torch.manual_seed(0)
    config = small_config(model_type, **changes)
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


def save_mrpc(folder: Path) -> Path:
    """MRPC in the official layout: 240 training and 40 validation pairs that can be learnt."""
    (folder / "MRPC").mkdir()
    rng = random.Random(1)
    for name, rows in (("train", 240), ("dev", 40)):
        lines = ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"]
        for i in range(rows):
            first = sentence(rng)
            label = rng.randint(0, 1)
            second = first if label else sentence(rng)
            lines.append(f"{label}\t{i}\t{i}\t{first}\t{second}")
        text = "\n".join(lines) + "\n"
        (folder / "MRPC" / f"{name}.tsv").write_text(text, encoding="utf-8")
    return folder


ANIMALS, PLACES = NOUNS[:3], NOUNS[6:]


def tagged_sentence(rng: random.Random) -> tuple[list[str], list[str]]:
    """A sentence with animals, a word before them being part of their name, and places."""
    words = sentence(rng).split()
    tags = ["B-place" if word in PLACES else "O" for word in words]
    for i, word in enumerate(words):
        if word in ANIMALS:
            tags[i - 1], tags[i] = "B-animal", "I-animal"
    return words, tags


def conll_text(rows: list[tuple[list[str], list[str]]]) -> str:
    """Sentences in columns."""
    lines = ("\n".join(map("\t".join, zip(*row, strict=True))) for row in rows)
    return "\n\n".join(lines) + "\n"


def save_animals(folder: Path) -> Path:
    """A task of named entities that can be learnt, in CoNLL's columns, and its YAML file."""
    (folder / "animals").mkdir()
    rng = random.Random(2)
    for name, rows in (("train", 240), ("dev", 40), ("test", 12)):
        text = conll_text([tagged_sentence(rng) for _ in range(rows)])
        (folder / "animals" / f"{name}.conll").write_text(text, encoding="utf-8")
    (folder / "animals.yaml").write_text("name: animals\ntype: token-classification\n")
    return folder


def squad_articles(
    rows: int, seed: int, *, impossible: float = 0.0, sentences: int = 3
) -> list[dict[str, Any]]:
    """Articles in SQuAD's layout, four questions each: whom somebody likes, sees, sells, ..."""
    rng = random.Random(seed)
    articles = []
    for number in range(-(-rows // 4)):
        context = ". ".join(sentence(rng) for _ in range(sentences)) + "."
        qas = []
        for i in range(4):
            asked = rng.choice(context[:-1].split(". "))
            words, answer = asked.split()[:4], " ".join(asked.split()[4:])
            start = context.index(asked) + asked.index(answer)
            answers = [{"text": answer, "answer_start": start}]
            none = rng.random() < impossible
            if none:
                words[1] = "absent"
            qas.append(
                {
                    "id": f"q{seed}-{number}-{i}",
                    "question": f"{' '.join(words)} what?",
                    "answers": [] if none else answers,
                    **({"is_impossible": none} if impossible else {}),
                }
            )
        paragraphs = [{"context": context, "qas": qas}]
        articles.append({"title": f"Article {seed} {number}", "paragraphs": paragraphs})
    return articles


def save_squad(folder: Path, *, train: int = 160, dev: int = 40, **made: Any) -> Path:
    """Questions in SQuAD's layout, official file names, that can be learnt."""
    (folder / "squad").mkdir()
    version = "v2.0" if made.get("impossible") else "v1.1"
    for name, rows, seed in (("train", train, 1), ("dev", dev, 2)):
        content = {"version": version, "data": squad_articles(rows, seed, **made)}
        path = folder / "squad" / f"{name}-{version}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


TOPICS = {"animal": ("cat", "dog", "bird"), "film": ("film", "actor", "plot"), "praise": ("good",)}


def save_topics(folder: Path) -> Path:
    """Sentences with their topics, of which some have several and some none: folder/topics."""
    (folder / "topics").mkdir()
    rng = random.Random(2)
    for name, rows in (("train", 240), ("validation", 40)):
        lines = []
        for _ in range(rows):
            text = sentence(rng)
            said = [topic for topic, words in TOPICS.items() if set(words) & set(text.split())]
            lines.append(json.dumps({"text": text, "topics": said}))
        path = folder / "topics" / f"{name}.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
