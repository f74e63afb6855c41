"""What the mini-KD benchmarks share: real sentences, a teacher, its store, students of a shape."""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kdnas.config import Settings
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import hidden_states
from kdnas.errors import KdnasError
from kdnas.recipes.stages import weighted_losses
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.shown import quoted
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.proxy import Proxy, split_heldout
from kdnas.space import Architecture, Candidate
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import family_of
from kdnas.students.state import StudentState
from kdnas.tasks import EncodedExamples, Examples, encode, load_data, load_spec
from kdnas.teachers.load import Teacher, load_teacher, teacher_source
from kdnas.teachers.store import build_store

SENTENCES = Path(__file__).parents[2] / "shared" / "data" / "corpus" / "sentences.txt.gz"
LABELS = 2


@dataclass
class Setting:
    """A teacher, sentences and the teacher's signal for them."""

    teacher: Teacher
    runtime: Runtime
    settings: Settings
    proxy: Proxy
    store_seconds: float

    @property
    def training(self) -> EncodedExamples:
        """The sentences that are trained on."""
        return self.proxy.data.take(self.proxy.training)

    @cached_property
    def mini(self) -> MiniKD:
        """Mini-KD on them."""
        return MiniKD(self.teacher, self.proxy, self.settings, self.runtime)

    def start(self, architecture: Architecture) -> tuple[StudentState, WeightedLosses]:
        """A fresh student and what mini-KD minimises."""
        mini, state = self.mini, self.mini.start(Candidate(architecture))
        return state, weighted_losses(mini.stage, state, mini.data, self.settings, self.runtime)

    def architecture(self, shape: str) -> Architecture:
        """As `shaped` says, or `teacher`."""
        return shaped(self.teacher.model.config, shape)


def shaped(config: Any, shape: str) -> Architecture:
    """From LAYERSxHIDDEN, with the teacher's heads as far as they divide, or `teacher`."""
    whole = teacher_architecture(config, family_of(config.model_type, config.model_type))
    if shape == "teacher":
        return whole
    depth, _, width = shape.partition("x")
    if not (depth.isdecimal() and width.isdecimal() and int(width)):
        raise KdnasError(f"invalid shape {quoted(shape)}: expected LAYERSxHIDDEN, such as 3x384")
    layers, hidden = int(depth), int(width)
    heads = max(h for h in range(1, whole.num_attention_heads + 1) if hidden % h == 0)
    return Architecture(layers, heads, hidden, 4 * hidden, whole.hidden_act)


def read_sentences(file: Path | None, count: int, seed: int = 0) -> list[str]:
    """Some lines of a text file (gzip or plain), else snippets of the embedded task.

    Raises:
        KdnasError: There are fewer than `count`.
    """
    source = str(file or SENTENCES)
    if file is None and not SENTENCES.exists():
        source = "the embedded task"
        lines = load_data(load_spec("rotten-tomatoes"), None).splits["train"].text
    else:
        path = file or SENTENCES
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) < count:
        raise KdnasError(
            f"too few sentences: {len(lines):,} ({source}), where {count:,} are needed; give a "
            "file with more, or ask for less"
        )
    chosen = np.random.default_rng(seed).permutation(len(lines))[:count]
    return [lines[i] for i in chosen]


def make_setting(
    texts: list[str], length: int, settings: Settings, teacher_name: str | None = None
) -> Setting:
    """Loads the teacher, encodes the texts and builds the store, in a temporary folder."""
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    teacher = load_teacher(teacher_source(teacher_name), load_spec("sst2"))
    teacher.has_head = True
    labels = np.arange(len(texts)) % LABELS
    data = encode(Examples(texts, None, labels), teacher.tokenizer, length)
    folder = Path(tempfile.mkdtemp(prefix="kdnas-benchmark-"))
    states = hidden_states(range(1, teacher.architecture.num_hidden_layers + 1))
    start = time.perf_counter()
    store = build_store(folder / "store", teacher, data, states, runtime)
    seconds = time.perf_counter() - start
    training, heldout = split_heldout(data, settings.heldout_fraction, settings.seed)
    proxy = Proxy(data, lambda: store, training, heldout)
    return Setting(teacher, runtime, settings, proxy, seconds)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
