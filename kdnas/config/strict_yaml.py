"""The only reader of YAML files: plain values, nothing that is lost or expands without a word.

It refuses what PyYAML takes: a key that stands twice, tags other than those of plain values,
files that are large, deeply nested, or become so by aliases. Dates and times stay texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown

MOST_BYTES = 1 << 20
MOST_LEVELS = 50
# Values in a file, those that aliases repeat included.
MOST_VALUES = 100_000
MOST_DIGITS = 40

CORE = "tag:yaml.org,2002:"
NODES = (yaml.ScalarEvent, yaml.AliasEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)
PLAIN = {f"{CORE}{name}": name for name in ("str", "int", "float", "bool", "null")}
TEXT, MERGE = f"{CORE}str", f"{CORE}merge"
# YAML 1.1 reads 010 as 8, 1:30 as 90 and 0x128 as 296; here they are texts, as they look.
NO_NUMBER = re.compile(r"[-+]?0[0-9_]+|[-+]?0[xb].*|.*:.*")


class _RefusedError(Exception):
    """What is wrong in a file; the line is where the reader stands."""


@dataclass
class _Open:
    """A list or mapping whose end has not come."""

    value: Any
    anchor: str | None
    size: int = 1  # values in it, itself included
    key: str | None = None  # of a mapping: the one whose value comes next
    merged: dict[str, Any] = field(default_factory=dict)  # what `<<` brings, its own keys aside
    merges: bool = False  # whether the next value is that of `<<`


def read_mapping(file: Path, what: str = "options") -> dict[str, Any]:
    """The mapping in a YAML file; its keys are texts. An empty file holds an empty one.

    Args:
        file: The file.
        what: What it is a mapping of, for messages.

    Raises:
        KdnasError: The file cannot be read, is not plain YAML, or holds something else.
    """
    values = _read(file)
    if values is not None and not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else f"single value {quoted(values)}"
        raise KdnasError(f"invalid {shown(file)}: it holds a {kind}; expected a mapping of {what}")
    return values or {}


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise KdnasError(
            f"invalid {shown(file)}: it is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KdnasError(f"cannot read {shown(file)}: {reason}") from None
    if len(content) > MOST_BYTES:
        raise KdnasError(f"invalid {shown(file)}: it has over 1 MB; expected a short YAML file")
    try:
        return _Reader(text).read()
    except yaml.YAMLError as error:
        # The fault and its place, without the line itself, which may hold a password.
        fault = getattr(error, "problem", None) or getattr(error, "reason", None) or "damaged"
        if mark := getattr(error, "problem_mark", None):
            fault += f" in line {mark.line + 1}, column {mark.column + 1}"
        raise KdnasError(f"invalid {shown(file)}: it is not YAML: {fault}") from None
    except _RefusedError as error:
        raise KdnasError(f"invalid {shown(file)}: {error}") from None


class _Reader:
    """Builds values from the parser's events, without recursion."""

    def __init__(self, text: str) -> None:
        self.loader: Any = yaml.SafeLoader(text)  # partly without types
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.total, self.line, self.result = 0, 1, None

    def read(self) -> Any:
        documents = 0
        while self.loader.check_event():
            event: Any = self.loader.get_event()
            self.line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse("a second document begins; expected one")
            elif type(event) in NODES:
                self._node(event)
                if not self.open and self.result is None and getattr(event, "value", None):
                    self._refuse(f"it holds {shown(event.value)} alone; expected a mapping")
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
        return self.result

    def _refuse(self, problem: str) -> None:
        raise _RefusedError(f"line {self.line}: {problem}")

    def _node(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.AliasEvent:
            if event.anchor not in self.anchors:
                self._refuse(f"*{shown(event.anchor)} repeats a value that has no end before it")
            self._add(*self.anchors[event.anchor], event)
        elif kind is yaml.ScalarEvent:
            value = None if self._awaits_key() else self._scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            self._add(value, 1, event)
        else:
            name = "map" if kind is yaml.MappingStartEvent else "seq"
            if event.tag not in (None, "!", f"{CORE}{name}"):
                self._refuse_tag(event.tag)
            if self._awaits_key():
                self._refuse("a key is a list or mapping; expected a word")
            if len(self.open) == MOST_LEVELS:
                self._refuse(f"over {MOST_LEVELS} levels deep; expected a plainer file")
            self.open.append(_Open({} if name == "map" else [], event.anchor))

    def _awaits_key(self) -> bool:
        top = self.open[-1] if self.open else None
        return top is not None and isinstance(top.value, dict) and top.key is None

    def _close(self) -> None:
        done = self.open.pop()
        if done.merged:
            done.value = {**done.merged, **done.value}
        if done.anchor:
            self.anchors[done.anchor] = (done.value, done.size)
        self._add(done.value, done.size, None)

    def _add(self, value: Any, size: int, event: Any) -> None:
        """Puts a value where it belongs: in the innermost open list or mapping."""
        if not self.open:
            self.result = value
            return
        top = self.open[-1]
        top.size += size
        if top.size > MOST_VALUES:
            self._refuse(f"over {MOST_VALUES:,} values, repeated ones included; expected fewer")
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            self._take_key(top, event)
        else:
            if top.merges:
                self._merge(top, value)
            else:
                top.value[top.key] = value
            top.key, top.merges = None, False

    def _take_key(self, top: _Open, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse("a key is an alias; expected a word")
        top.key, top.merges = event.value, event.value == "<<" and event.implicit[0]
        if top.key in top.value:
            self._refuse(f"{quoted(top.key)} stands twice in one mapping; leave one out")

    def _merge(self, top: _Open, value: Any) -> None:
        for part in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(part, dict):
                self._refuse("<< merges mappings alone")
            top.merged |= part

    def _scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag in (None, "!"):
            tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            tag = tag if tag in PLAIN else TEXT  # a date, a time
        if tag not in PLAIN:
            self._refuse_tag(tag)
        explicit = event.tag not in (None, "!")
        if tag == TEXT or (tag == f"{CORE}int" and not explicit and NO_NUMBER.match(event.value)):
            return str(event.value)
        if tag == f"{CORE}null":
            return None
        if len(event.value) > MOST_DIGITS:
            self._refuse(f"a number of {len(event.value):,} characters; expected a shorter one")
        make = getattr(self.loader, f"construct_yaml_{PLAIN[tag]}")
        try:
            return make(yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, IndexError):
            self._refuse(f"{quoted(event.value)} is no {PLAIN[tag]}")

    def _refuse_tag(self, tag: str) -> None:
        short = tag.replace(CORE, "!!")
        self._refuse(f"the tag {quoted(short)} is not for plain values; leave it out")
