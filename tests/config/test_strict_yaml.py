"""One reader for every YAML file: what it takes, what it refuses in one line, and how soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdnas.config.strict_yaml import MOST_BYTES, read_mapping
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.tasks import load_spec

NINE = "[{0},{0},{0},{0},{0},{0},{0},{0},{0}]"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} {NINE.format(f'*{before}')}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "trials: 1\ntrials: 2": "line 2: 'trials' stands twice in one mapping",
    "tasks: {a: {text: t, text: u}}": "line 1: 'text' stands twice",
    '"trials": 1\ntrials: 2': "line 2: 'trials' stands twice",
    "false": "it holds a single value 'false'; expected a mapping",
    "0": "it holds a single value '0'",
    "''": "it holds a single value ''",
    "null": "it holds null alone",
    "[]": "it holds a list",
    BOMB: "over 100,000 values",
    "a: &a [*a]": "*a repeats a value that has no end before it",
    "a: *b": "*b repeats a value",
    "&k a: 1\n*k : 2": "a key is an alias",
    "? [a]\n: 1": "a key is a list or mapping",
    "a: 1\n---\nb: 2": "line 2: a second document begins",
    "a: !!int abc": "line 1: 'abc' is no int",
    "a: !!int ''": "'' is no int",
    "a: !!float x": "'x' is no float",
    "a: !!bool x": "'x' is no bool",
    "a: !!timestamp 2001-99-99": "the tag '!!timestamp' is not for plain values",
    "a: !!set {x}": "the tag '!!set'",
    "a: !!binary xx": "the tag '!!binary'",
    "a: !!python/object/apply:os.system [ls]": "the tag '!!python/object/apply:os.system'",
    "a: !mine b": "the tag '!mine'",
    "<<: [1]": "<< merges mappings alone",
    "a: " + "1" * 5000: "a number of 5,000 characters",
    "a: " + "[" * 1500: "over 50 levels deep",
    "[" * 100_000: "over 50 levels deep",
    "a: " + "{a: " * 1500: "over 50 levels deep",
    "- " * 1500: "over 50 levels deep",
    "a: [": "it is not YAML: expected the node content",
    "a: \x07": "it is not YAML: special characters are not allowed",
    "x" * (MOST_BYTES + 1): "it has over 1 MB",
}


@pytest.mark.parametrize(("text", "told"), REFUSED.items(), ids=list(REFUSED.values()))
def test_what_is_refused(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    readers: list[Callable[[], Any]] = [
        lambda: read_mapping(file),
        lambda: Run.open(tmp_path),
        lambda: load_spec(file),
    ]
    for read in readers:
        start = time.process_time()  # whatever else the machine does
        with pytest.raises(KdnasError) as caught:
            read()
        message = str(caught.value)
        assert told in message and message.startswith(f"invalid {file}: ")
        assert len(message) < 300 and "\n" not in message
        assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# nothing\n---\n...", {}),
        ("a: 2001-99-99\nb: 2001-01-01", {"a": "2001-99-99", "b": "2001-01-01"}),
        ("a: 010\nb: 1:30", {"a": "010", "b": "1:30"}),
        ("a: 0x128\nb: -0x6\nc: 0b11", {"a": "0x128", "b": "-0x6", "c": "0b11"}),
        ("a: 0x10\nb: 1_000\nc: -3\nd: 0", {"a": "0x10", "b": 1000, "c": -3, "d": 0}),
        ("on: 1\n2: 2", {"on": 1, "2": 2}),
        ("a: !!str 1\nb: !!int '2'", {"a": "1", "b": 2}),
        (
            "a: &a {lr: 1, e: 2}\nb: {<<: *a, lr: 3}",
            {"a": {"lr": 1, "e": 2}, "b": {"lr": 3, "e": 2}},
        ),
        ("a: [1.5, .inf, off, ~, 'x', 1e-3]", {"a": [1.5, float("inf"), False, None, "x", "1e-3"]}),
    ],
)
def test_what_is_read(text: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert read_mapping(tmp_path / "a.yaml") == value


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    for file, told in {
        tmp_path / "latin.yaml": "it is not UTF-8",
        tmp_path: "Is a directory",
        tmp_path / "absent": "No such file",
        Path("/dev/zero"): "over 1 MB",
        Path("a\0b"): r"cannot read a\\x00b",
    }.items():
        with pytest.raises(KdnasError, match=told):
            read_mapping(file)
