"""SQuAD 2.0 from a part of it: whole articles, some of SQuAD 1.1 beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kdnas.errors import KdnasError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def article(title: str, questions: int) -> dict[str, Any]:
    asked = [{"id": f"{title} {number}", "question": "Why?"} for number in range(questions)]
    return {"title": title, "paragraphs": [{"context": "So.", "qas": asked}]}


def titles(articles: list[dict[str, Any]]) -> list[str]:
    return [one["title"] for one in articles]


def test_every_fourth_article_is_held_out_and_answered_ones_join_the_others() -> None:
    from split_squad2 import split

    articles = [article(f"a{number}", 1) for number in range(9)]
    answered = [article(f"b{number}", 3) for number in range(4)]
    found = split(articles, answered, 5)
    assert titles(found["dev"]) == ["a3", "a7"]
    assert titles(found["train"]) == ["a0", "a1", "a2", "a4", "a5", "a6", "a8", "b0", "b1"]
    of_b0 = found["train"][7]["paragraphs"][0]["qas"]
    assert [one["is_impossible"] for one in of_b0] == [False] * 3


def test_files_that_share_an_article_and_too_few_articles_are_refused() -> None:
    from split_squad2 import split

    articles = [article(f"a{number}", 1) for number in range(4)]
    with pytest.raises(KdnasError, match="a2 is in both files"):
        split(articles, [article("a2", 1)], 1)
    with pytest.raises(KdnasError, match="3 articles: expected 4 or more"):
        split(articles[:3], [], 1)


def test_files_of_another_form_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import split_squad2

    part, out = tmp_path / "part.json", tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["split_squad2.py", str(part), "--out", str(out)])

    def refused(articles: list[Any], told: str) -> None:
        part.write_text(json.dumps({"data": articles}))
        with pytest.raises(SystemExit, match=told) as ended:
            split_squad2.main()
        assert ended.value.code == 2 and not out.exists()

    older = [article(f"a{number}", 1) for number in range(4)]
    refused(older, "article 1 of .* has no is_impossible; give a file of SQuAD 2.0")
    whole = [split_squad2._with_answers(one) for one in older]
    untitled = {key: value for key, value in whole[1].items() if key != "title"}
    refused([whole[0], untitled, *whole[2:]], "article 2 of .* has no title; give")
    refused([*whole[:3], {"title": "a"}], "is no file of SQuAD")
