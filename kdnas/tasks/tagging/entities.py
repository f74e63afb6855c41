"""Tags of words and the entities that they spell: IOB1, IOB2, BIOES and its kin, bare types."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = "O"
# What other schemes call the parts of an entity: BILOU, BMES, BMEWO.
_PARTS = {**dict(zip("BIES", "BIES", strict=True)), "M": "I", "L": "E", "U": "S", "W": "S"}
_PREFIXED = re.compile(r"([BIESMLUW])(?:[-_](.+))?", re.IGNORECASE | re.DOTALL)


class Tag(NamedTuple):
    """A tag in parts: `B`, `I`, `E`, `S` or `O`, and the type of entity."""

    part: str
    type: str

    @property
    def word(self) -> str:
        """As seqeval reads it."""
        return OUTSIDE if self.part == OUTSIDE else f"{self.part}-{self.type}"


class Entity(NamedTuple):
    """An entity of consecutive words, from `start` to before `end`."""

    type: str
    start: int
    end: int


class Tags:
    """The tags of a task, understood.

    Attributes:
        names: As the task has them.
        outside: The id of O; -1 where there is none.
        scheme: `IOB2`; `IOBES`, also for those that call its parts otherwise; `bare`, where tags
            are types without the part, also where some begin like one (`e-mail`); None where they
            are neither, such as parts of speech: each word is then one of its own.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        plain = [name.strip() for name in names]
        self.outside = next((i for i, name in enumerate(plain) if name.upper() == OUTSIDE), -1)
        found = [_PREFIXED.fullmatch(name) for name in plain]
        others = [m for i, m in enumerate(found) if i != self.outside]
        self.scheme: str | None = None
        typed = [(_PARTS[m[1].upper()], m[2].casefold()) for m in others if m and m[2]]
        if self.outside >= 0 and not _are_parts(typed, whole=bool(others) and all(others)):
            self.scheme = "bare"
        elif others and all(others):
            parts = {_PARTS[m[1].upper()] for m in others if m}
            self.scheme = "IOBES" if parts & set("ES") else "IOB2"
        outside = Tag(OUTSIDE, "")
        alone = "B" if self.scheme is None else "I"
        self.tags = [
            outside
            if i == self.outside
            else Tag(_PARTS[m[1].upper()], m[2] or "_")
            if m and (self.scheme in ("IOB2", "IOBES") or (self.scheme is None and m[2]))
            else Tag(alone, name)
            for i, (name, m) in enumerate(zip(plain, found, strict=True))
        ]

    @property
    def types(self) -> list[str]:
        """The types of entities in the order of the tags' ids."""
        return list(dict.fromkeys(tag.type for tag in self.tags if tag.part != OUTSIDE))

    @property
    def inside(self) -> list[int]:
        """By a tag's id, the tag of a word's further pieces: I- for B-, else the same."""
        places = {tag: i for i, tag in reversed(list(enumerate(self.tags)))}
        return [
            places.get(Tag("I", tag.type), i) if tag.part == "B" else i
            for i, tag in enumerate(self.tags)
        ]

    def spelled(self, kind: str, length: int) -> list[int]:
        """The ids of the tags of an entity of a type, on so many words.

        Raises:
            KeyError: There is no such type; letter case counts.

        Golden, of O, B-A, I-A: an A of 3 words -> [1, 2, 2].
        """
        ids = {tag: i for i, tag in reversed(list(enumerate(self.tags)))}
        if kind not in self.types:
            raise KeyError(kind)
        parts = "S" if length == 1 else f"B{'I' * (length - 2)}E"
        # Of schemes, or types, without such a part another one.
        usual = {"S": "SBIE", "B": "BIES", "I": "IBES", "E": "EIBS"}
        tags = [[Tag(one, kind) for one in usual[part]] for part in parts]
        return [next(ids[tag] for tag in each if tag in ids) for each in tags]

    def words(self, row: Sequence[int]) -> list[str]:
        """Tags of a row, given by their ids (-1: O), as seqeval reads them.

        Of bare types, a run of the same one is an entity.
        """
        tags = [self.tags[i] if i >= 0 else Tag(OUTSIDE, "") for i in row]
        if self.scheme == "bare":
            before = [Tag(OUTSIDE, ""), *tags]
            tags = [
                Tag("B", tag.type) if tag.part == "I" and tag != last else tag
                for last, tag in zip(before, tags, strict=False)
            ]
        return [tag.word for tag in tags]

    def entities(self, row: Sequence[int], *, strict: bool = False) -> list[Entity]:
        """The entities of a row of tags, by seqeval.

        Args:
            row: Ids of tags, -1 for O.
            strict: Whether only those count that the scheme allows; by default, as in the official
                script of CoNLL-2000, I- begins an entity where none of its type goes before.
        """
        if all(i in (self.outside, -1) for i in row):
            return []
        words = self.words(row)
        if not strict:
            from seqeval.metrics.sequence_labeling import get_entities

            return [Entity(kind, start, end + 1) for kind, start, end in get_entities(words)]
        from seqeval.scheme import IOB2, IOBES, Tokens

        scheme = IOBES if self.scheme == "IOBES" else IOB2
        return [Entity(one.tag, one.start, one.end) for one in Tokens(words, scheme).entities]


def _are_parts(typed: Sequence[tuple[str, str]], *, whole: bool) -> bool:
    """Whether tags that begin like parts of entities are such, rather than types like `e-mail`.

    Entities that end have begun: without any B they are where each type with an E has another part.
    Beside tags without a part, they are where a type has several, or several types have an I, as in
    IOB1.

    Args:
        typed: Part and type of each.
        whole: Whether all tags are such, O aside.
    """
    kinds = {part: {kind for one, kind in typed if one == part} for part in "BIES"}
    counts = Counter(kind for of_part in kinds.values() for kind in of_part)
    if kinds["B"]:
        return True
    if whole:
        return all(counts[kind] > 1 for kind in kinds["E"])
    return len(kinds["I"]) > 1 or any(count > 1 for count in counts.values())


def iob1_to_iob2(rows: Sequence[Sequence[str]]) -> list[list[str]] | None:
    """Rows of tags that are clearly IOB1, in IOB2; None where they are not.

    In IOB1 an entity begins with I-, and with B- only right behind another of its type. Tags are
    spelled as `Tags` reads them.

    Golden: [I-A, I-A, B-A, O, I-A] -> [B-A, I-A, B-A, O, B-A]; [B-A, I-A] -> None.
    """
    converted, begins = list[list[str]](), False
    for row in rows:
        changed = list[str]()
        last: str | None = None
        for word in row:
            if word.upper() == OUTSIDE:
                changed.append(word)
                last = None
                continue
            parts = _PREFIXED.fullmatch(word)
            part, kind = (parts[1].upper(), (parts[2] or "").casefold()) if parts else ("", "")
            if part not in ("B", "I") or (part == "B" and kind != last):
                return None
            first = part == "I" and kind != last
            begins |= first
            changed.append(f"B{word[1:]}" if first else word)
            last = kind
        converted.append(changed)
    return converted if begins else None
