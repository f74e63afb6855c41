"""What messages show of a value: its beginning, no control character, no password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdnas.runtime.shown import (
    MOST_OF_A_MESSAGE,
    MOST_OF_A_WORD,
    one_line,
    printable,
    quoted,
    redact,
    shown,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        ("a b", "a b"),
        (Path("a/b"), "a/b"),
        ({"hidden": 0}, "{'hidden': 0}"),
        ("\x1b[2J\r\n", r"\x1b[2J\r\n"),
        ("\u202egpj.exe\x9b", r"\u202egpj.exe\x9b"),
        ("\udcff", r"\udcff"),
        ("naïve 👩\u200d🔬", "naïve 👩\u200d🔬"),
    ],
)
def test_a_value_is_shown_as_it_was_given(value: object, text: str) -> None:
    assert shown(value) == text and quoted(value) == f"'{text}'"


def test_however_large_a_value_is_little_of_it_is_shown() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep, deep]
    for value in ("x" * 10**6, 10**5000, deep, {"k" * 1000: ["v" * 1000] * 1000}, b"\0" * 10**6):
        assert len(shown(value)) <= 100
    assert len(one_line("word " * 10**5)) <= MOST_OF_A_MESSAGE
    path = "/d" * 5000
    assert re.fullmatch(
        r"cannot use (/d)+\.\.\.d?(/d)+: not a folder", one_line(f"cannot use {path}: not a folder")
    )
    assert len(one_line(path)) <= MOST_OF_A_WORD
    assert one_line(f"no {'/d' * 100}") == f"no {'/d' * 100}"


@pytest.mark.parametrize(
    "text",
    [
        "Got unexpected extra argument (postgresql://me:sesame@h/db)",
        "--storage=postgresql:/me:sesame@h/db",
        "storage: ['me:sesame@h']",
        "no such file: mysql://h/d?password=sesame&a=b",
    ],
)
def test_no_password_is_shown(text: str) -> None:
    for given in (redact(text), one_line(text), shown(text), shown([text]), quoted({text: 1})):
        assert "sesame" not in given


def test_other_texts_stay_as_they_are() -> None:
    for text in ("a@b.c", "hub.co/model@main", "at 12:30", "x: y@", "sqlite:///a b/c.db"):
        assert redact(text) == text
    assert printable("a\tb") == r"a\tb"
