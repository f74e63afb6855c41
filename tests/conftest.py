"""Small real things that many tests need: teachers with tokenizers, data folders, commands."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runtime import Runtime, start_runtime
from kdnas.space import family_of
from kdnas.tasks import embedded_teacher

pytest_plugins = ["servers", "glue_layout"]
torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
# Where the tests run in the background, the shell has them and their children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"

NOUNS = ["cat", "dog", "bird", "film", "actor", "plot", "river", "market", "bank", "city"]
VERBS = ["likes", "sees", "sells", "finds", "follows", "helps"]
ADJECTIVES = ["good", "bad", "dull", "bright", "slow", "quick"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def sentence(rng: random.Random) -> str:
    """A short English sentence."""
    words = [rng.choice(part) for part in (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS)]
    return " ".join(["the", *words[:3], "the", *words[3:]])


def small_tokenizer() -> PreTrainedTokenizerFast:
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
    )


SHAPE = {
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
}


def small_config(model_type: str = "bert", **changes: Any) -> Any:
    """A config of a family, small and otherwise with the family's own values."""
    config = AutoConfig.for_model(model_type)
    family = family_of(model_type, model_type)
    for name, value in SHAPE.items():
        setattr(config, family.field_name(name), value)
    for follower, leader in family.follows.items():
        setattr(config, follower, getattr(config, leader))
    values = {"vocab_size": 200, "pad_token_id": 0, "max_position_embeddings": 70, **changes}
    for name, value in values.items():
        setattr(config, name, value)
    return config


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with a small teacher of a family and its tokenizer."""

    def make(model_type: str = "bert", **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp(model_type)
        torch.manual_seed(0)
        config = small_config(model_type, **changes)
        AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(folder)
        small_tokenizer().save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def teacher_folder(make_teacher: Callable[..., Path]) -> Path:
    """A small BERT teacher."""
    return make_teacher()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MRPC in the official layout: 240 training and 40 validation pairs that can be learnt."""
    folder = tmp_path_factory.mktemp("glue")
    (folder / "MRPC").mkdir()
    rng = random.Random(1)
    for name, rows in (("train", 240), ("dev", 40)):
        lines = ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"]
        for i in range(rows):
            first = sentence(rng)
            label = rng.randint(0, 1)
            second = first if label else sentence(rng)
            lines.append(f"{label}\t{i}\t{i}\t{first}\t{second}")
        (folder / "MRPC" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


QUICK = {
    "teacher_epochs": 0.5,
    "mini_epochs": 0.5,
    "epochs": 0.5,
    "task_epochs": 0.5,
    "batch_size": 16,
    "latency_length": 16,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "random_control": "off",
}


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """The CPU in full precision."""
    return start_runtime(Settings(device="cpu", precision="fp32"))


@pytest.fixture
def quick_flags(teacher_folder: Path, data_folder: Path) -> list[str]:
    """Flags of a search that takes seconds."""
    flags = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **QUICK}
    return [part for k, v in flags.items() for part in (f"--{k.replace('_', '-')}", str(v))]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores and locks go to a folder of the test session."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("KDNAS_LOCKS", str(tmp_path_factory.getbasetemp() / "locks"))
    monkeypatch.delenv("KDNAS_DATA_DIR", raising=False)


def kdnas(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kdnas", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real MiniLM; tests that need it are skipped without the package."""
    try:
        return embedded_teacher()
    except KdnasError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real GLUE data, from KDNAS_TEST_DATA or beside the checkout; else the test is skipped."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "glue"
    folder = Path(os.environ.get("KDNAS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (set KDNAS_TEST_DATA)")
    return folder
