"""Training and validation files of SQuAD 2.0 from a part of it, split by article.

    python benchmarks/split_squad2.py PART-v2.0.json --answered TRAIN-v1.1.json --out FOLDER

FOLDER gets `squad2/{train,dev}-v2.0.json`, for `--task squad2 --data-dir FOLDER`: every fourth
article of PART is in `dev`, the others in `train`, and with them the first articles of a file of
SQuAD 1.1, all of whose questions have an answer, until these are `--questions`. The two files must
not be of the same articles: SQuAD 1.1's development file has those of 2.0's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from command_line import a_count, a_file, in_one_line

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_json

EVERY = 4  # one article of so many is held out

Article = dict[str, Any]


@in_one_line()
def main() -> None:
    """Writes both files; prints how many articles and questions each has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", type=a_file)
    parser.add_argument("--answered", type=a_file, help="a file of SQuAD 1.1")
    parser.add_argument("--questions", type=a_count, default=3000, help="of the file of SQuAD 1.1")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    articles = _articles_of(args.part, "2.0", ("is_impossible",))
    others = _articles_of(args.answered, "1.1") if args.answered else []
    splits = split(articles, others, args.questions)
    folder = args.out / "squad2"
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in splits.items():
        write_json(folder / f"{name}-v2.0.json", {"version": "v2.0", "data": some})
        left = sum(question["is_impossible"] for one in some for question in _questions(one))
        count = sum(len(_questions(one)) for one in some)
        print(f"{name}: {len(some)} articles, {count} questions, {left} without an answer")


def split(
    articles: list[Article], answered: list[Article], questions: int
) -> dict[str, list[Article]]:
    """Articles of `train` and `dev`.

    Args:
        articles: Of SQuAD 2.0, in its JSON.
        answered: Of SQuAD 1.1, for `train`.
        questions: How many of these at least, where there are so many.

    Raises:
        KdnasError: An article is in both, or there are too few to hold any out.
    """
    if len(articles) < EVERY:
        raise KdnasError(f"{len(articles)} articles: expected {EVERY} or more to hold one out")
    if both := {one["title"] for one in articles} & {one["title"] for one in answered}:
        raise KdnasError(f"{sorted(both)[0]} is in both files; give --answered one of others")
    train = [one for place, one in enumerate(articles) if (place + 1) % EVERY]
    count = 0
    for one in answered:
        if count >= questions:
            break
        count += len(_questions(one))
        train.append(_with_answers(one))
    return {"train": train, "dev": articles[EVERY - 1 :: EVERY]}


def _articles_of(path: Path, version: str, fields: tuple[str, ...] = ()) -> list[Article]:
    """The articles in a file, whose questions all have some fields.

    Raises:
        KdnasError: It is no file of SQuAD, or not of this version.
    """
    try:
        articles: list[Article] = json.loads(path.read_text(encoding="utf-8"))["data"]
        for number, article in enumerate(articles, 1):
            questions = _questions(article)
            parts = [(article, ("title",)), *((one, fields) for one in questions)]
            if lacking := [name for part, names in parts for name in names if name not in part]:
                raise KdnasError(
                    f"article {number} of {path} has no {lacking[0]}; "
                    f"give a file of SQuAD {version}"
                )
    except (ValueError, LookupError, TypeError) as error:
        raise KdnasError(
            f"{path} is no file of SQuAD: expected an object with data, which is articles with "
            "paragraphs of questions (qas)"
        ) from error
    return articles


def _questions(article: Article) -> list[dict[str, Any]]:
    return [question for paragraph in article["paragraphs"] for question in paragraph["qas"]]


def _with_answers(article: Article) -> Article:
    """An article of SQuAD 1.1 in 2.0's form."""
    paragraphs = [
        one | {"qas": [question | {"is_impossible": False} for question in one["qas"]]}
        for one in article["paragraphs"]
    ]
    return article | {"paragraphs": paragraphs}


if __name__ == "__main__":
    main()
