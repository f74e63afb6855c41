"""How long texts are in a tokenizer of their own, beside the teacher's vocabulary and cuts of it.

    python benchmarks/own_vocabulary.py --data-dir DATA --tasks mrpc stsb sst2

A vocabulary of the task's own texts shortens them where it has whole words that the teacher's
splits (Gee et al. 2022, Fast Vocabulary Transfer), and lengthens them where it lacks what new texts
have. For each task a WordPiece tokenizer is trained on the training texts, at the size of each cut
and at the teacher's; the figures are tokens of the validation texts over those of the teacher's
tokenizer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from command_line import in_one_line
from tokenizers import Tokenizer, models, trainers

from kdnas.config.vocabulary import TASKS, least_count
from kdnas.students.vocabulary import cut_vocabulary
from kdnas.tasks import Examples, load_data, load_spec
from kdnas.teachers.load import load_config, load_tokenizer, teacher_source

CUTS = (TASKS, f"{TASKS}-5")


@in_one_line()
def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--teacher", help="Default: the embedded MiniLM.")
    args = parser.parse_args()
    for number, task in enumerate(args.tasks):
        rows = lengths(task, args.data_dir, teacher_source(args.teacher))
        if number == 0:  # behind what may be refused
            print("| task | vocabulary | tokens | cut | own |\n|---|---|---|---|---|")
        for row in rows:
            print("|", " | ".join(map(str, row)), "|", flush=True)


def lengths(task: str, data_dir: Path, source: str) -> list[tuple[str, str, int, str, str]]:
    """Rows of the table: of each cut, and of a vocabulary as large as the teacher's."""
    spec = load_spec(task)
    splits = load_data(spec, data_dir, optional=()).splits
    train, new = texts_of(splits["train"]), texts_of(splits[spec.evaluation[0]])
    teacher = load_tokenizer(source)
    whole = bare(teacher.backend_tokenizer.to_str())
    counts = np.zeros(len(teacher), np.int64)
    for encoded in whole.encode_batch(train, add_special_tokens=False):
        np.add.at(counts, encoded.ids, 1)
    found, longest = list[tuple[str, str, int, str, str]](), count_tokens(whole, new)
    for name in CUTS:
        made = cut_vocabulary(name, teacher, load_config(source), counts, least_count(name))
        cut = count_tokens(bare(made.tokenizer.backend_tokenizer.to_str()), new) / longest
        own = count_tokens(trained(whole, train, len(made)), new) / longest
        found.append((task, name, len(made), f"{cut:.3f}", f"{own:.3f}"))
    large = trained(whole, train, len(teacher))
    own = count_tokens(large, new) / longest
    return [*found, (task, "as large as the teacher's", large.get_vocab_size(), "-", f"{own:.3f}")]


def texts_of(examples: Examples) -> list[str]:
    """First and second texts."""
    return [*examples.text, *(examples.text_pair or ())]


def bare(state: str) -> Tokenizer:
    """A tokenizer that neither pads nor cuts."""
    return Tokenizer.from_str(
        json.dumps({**json.loads(state), "padding": None, "truncation": None})
    )


def trained(like: Tokenizer, texts: Sequence[str], size: int) -> Tokenizer:
    """A WordPiece tokenizer of some texts, with another's normalisation."""
    made = Tokenizer.from_str(like.to_str())
    made.model = models.WordPiece(unk_token="[UNK]")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    """Of all texts, without special ones."""
    return sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))


if __name__ == "__main__":
    main()
