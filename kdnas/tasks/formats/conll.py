"""Files in columns (CoNLL, WNUT, UD): a word and its tags a line, empty lines between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks.formats.tables import Rows, find_column
from kdnas.tasks.formats.text import read_text, refuse_sheet, unpacked
from kdnas.tasks.spec import TaskSpec

SUFFIXES = (
    *(".conll", ".conll2002", ".conll2003", ".conllu"),
    *(".iob", ".iob2", ".bio", ".bioes", ".txt", ".tsv"),
)
# Of these, others have tables or plain texts, too.
AMBIGUOUS = (".txt", ".tsv")
BOM = "\ufeff"
_BLANKS = re.compile(r"[ \t]+")
_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BIESLUM]([-_]\S+)?")
_SURELY_TAG = re.compile(r"O|[BIESLUM][-_][^\W\d]\S*")  # no numeral, no number of a sentence
_BEGINS = ("B-", "I-", "B_", "I_")
# Of UD: a token that stands for several, and one that is not in the text.
_RANGE = re.compile(r"\d+[-.]\d+", re.ASCII)
_LOOKED_AT, _MOST_BYTES = 200, 1 << 18
_REGULAR = 0.8
_LONGEST = 1_000  # words of a file that is one sentence
_FEWEST = 2  # sentences whose first column counts words


@dataclass(frozen=True)
class Line:
    """The fields of a line with a word, and the line's number."""

    number: int
    fields: list[str]


def read_conll(path: Path, spec: TaskSpec) -> Rows:
    """The sentences of a file in columns, each with the number of its first line.

    The first column has the words and the last one the tags, unless the task names the columns
    under `headerless`. A sentence with a line of another number of fields is a fault.

    Raises:
        KdnasError: The file is empty, in another encoding, lacks a column that the task names, or
            has many words and no empty line.
    """
    refuse_sheet(path)
    text = read_text(path, spec.encoding)
    sentences, marks = _without_marks(_sentences(text.content))
    width = _usual_width(sentences)
    if not width:
        raise KdnasError(f"{path} is empty; give a file with a word and its tag a line")
    sentences = _without_comments(sentences, width)
    if len(sentences) == 1 and len(sentences[0]) > _LONGEST:
        raise KdnasError(
            f"{path} has {len(sentences[0]):,} words and no empty line; put one between sentences"
        )
    word, tag, assumed = _columns(path, spec, sentences, width)
    told = [*text.assumed, *assumed]
    cells: list[tuple[int, list[list[str]]]] = []
    faults: list[tuple[int, str]] = []
    for lines in sentences:
        if ragged := next((line for line in lines if len(line.fields) != width), None):
            faults.append((ragged.number, _raggedness(ragged, width)))
            continue
        kept = [line for line in lines if not (word and _RANGE.fullmatch(line.fields[0]))]
        if empty := next((line for line in kept if _has_gap(line, word, tag)), None):
            faults.append((empty.number, "an empty field"))
        elif kept:
            columns = [[line.fields[word] for line in kept]]
            columns += [] if tag is None else [[line.fields[tag] for line in kept]]
            cells.append((kept[0].number, columns))
    if marks:
        told.append(
            f"{several(len(marks), 'word')} with nothing but a byte-order mark left out "
            f"(line {marks[0]})"
        )
    header = [spec.text[0].name, *([] if tag is None else [spec.label[0].name])]
    return Rows(
        *(str(path), header, iter(cells), "line"),
        assumed=tuple(told),
        faults=tuple(faults),
        hint="" if tag is not None else "separate each word and its tag by a space or a tab",
    )


def is_conll(path: Path) -> bool:
    """Whether a file has words in columns: by an ending that is theirs alone, else by its lines."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES and suffix not in AMBIGUOUS:
        return True
    try:
        with unpacked(path) as stream:
            head = stream.read(_MOST_BYTES).decode("utf-8", "replace")
    except KdnasError:
        return False
    lines = list(islice((line.rstrip("\r") for line in head.split("\n")), _LOOKED_AT))
    if any(line.startswith(_DOCUMENT) for line in lines):
        return True
    words = [_BLANKS.split(line.strip(f" \t{BOM}")) for line in lines if _is_word(line)]
    tagged = sum(len(fields) > 1 and bool(_TAG.fullmatch(fields[-1])) for fields in words)
    gaps = sum(not line.strip() for line in "\n".join(lines).strip().split("\n"))
    if tagged == 0:  # words without tags: one a line, with empty lines between some
        return gaps > 0 and all(len(fields) == 1 for fields in words)
    regular = tagged >= _REGULAR * len(words)
    return regular and (suffix == ".tsv" or _are_columns(words, gaps))


def _are_columns(words: Sequence[list[str]], gaps: int) -> bool:
    """Whether lines that end like tags are no plain texts, which may also end in `I`."""
    alike = max(Counter(map(len, words)).values(), default=0)
    entities = any(fields[-1].startswith(_BEGINS) for fields in words)
    return alike >= max(2, _REGULAR * len(words)) and (gaps > 0 or entities)


def _is_word(line: str) -> bool:
    return bool(line.strip(f" \t{BOM}")) and not line.startswith("# ")


def _sentences(content: str) -> Iterator[list[Line]]:
    """The lines between empty ones; those between documents are left out."""
    lines = [line.rstrip("\r") for line in content.split("\n")]
    full = [line for line in lines if line.strip(" \t")]
    tabs = sum("\t" in line for line in full) > len(full) / 2
    found: list[Line] = []
    for number, line in enumerate(lines, start=1):
        plain = line.strip(" \t")
        if not plain or plain.startswith(_DOCUMENT):
            if found:
                yield found
            found = []
        elif tabs and "\t" in line:
            found.append(Line(number, [field.strip(" ") for field in line.split("\t")]))
        else:
            found.append(Line(number, _BLANKS.split(plain)))
    if found:
        yield found


def _without_marks(sentences: Iterable[list[Line]]) -> tuple[list[list[Line]], list[int]]:
    """Sentences without byte-order marks, and the lines that have no other word."""
    found, marks = list[list[Line]](), list[int]()
    for lines in sentences:
        kept = []
        for line in lines:
            fields = [field.replace(BOM, "") for field in line.fields]
            if not fields[0] and line.fields[0]:
                marks.append(line.number)
            else:
                kept.append(Line(line.number, fields))
        found.append(kept)
    return [lines for lines in found if lines], marks


def _usual_width(sentences: Iterable[list[Line]]) -> int:
    """Fields of most lines that are no comments; 0 without lines."""
    each = Counter(len(x.fields) for lines in sentences for x in lines if x.fields[0] != "#")
    every = each or Counter(len(line.fields) for lines in sentences for line in lines)
    return max(every, key=lambda width: (every[width], width), default=0)


def _without_comments(sentences: Iterable[list[Line]], width: int) -> list[list[Line]]:
    """Sentences without the lines before their words that begin with # and can be no words.

    A line of as many fields as others is a word where its last field is one of their tags.
    """
    sentences = list(sentences)
    tags = _tags_of(sentences, width)

    def is_comment(line: Line) -> bool:
        fields = line.fields
        return fields[0].startswith("#") and (
            len(fields) != width or (width > 1 and fields[0] == "#" and fields[-1] not in tags)
        )

    found = []
    for lines in sentences:
        begin = next((i for i, line in enumerate(lines) if not is_comment(line)), len(lines))
        found.append(lines[begin:])
    return [lines for lines in found if lines]


def _tags_of(sentences: Sequence[list[Line]], width: int) -> set[str]:
    """The last fields of all lines that are words: of those that begin with #, what is a tag.

    A tag may stand at a # alone. Where others are no tags of entities, any word could be one.
    """
    whole = [line for lines in sentences for line in lines if len(line.fields) == width]
    tags = {x.fields[-1] for x in whole if x.fields[0] != "#"}
    beside = {x.fields[-1] for x in whole if x.fields[0] == "#"}
    of_entities = all(_TAG.fullmatch(tag) for tag in tags)
    return tags | {tag for tag in beside if of_entities and _SURELY_TAG.fullmatch(tag)}


def _columns(
    path: Path, spec: TaskSpec, sentences: Sequence[list[Line]], width: int
) -> tuple[int, int | None, list[str]]:
    """The places of words and tags, None for no tags, and what is assumed of them."""
    if spec.headerless:
        named = list(spec.headerless)
        if len(named) != width:
            raise KdnasError(
                f"{path} has {several(width, 'column')}; `headerless` in task {spec.name!r} "
                f"names {len(named)}"
            )
        found = find_column(spec.text[0], named, str(path))
        assert found is not None  # the entry was checked
        return found, find_column(spec.label[0], named, str(path)), []
    if width > 2 and _is_counted(sentences):
        return 1, width - 1, ["words in the second column, because the first one counts them"]
    return 0, (width - 1 if width > 1 else None), []


def _is_counted(sentences: Sequence[list[Line]]) -> bool:
    """Whether the first column counts the words of each sentence."""
    firsts = [
        [line.fields[0] for line in lines if not _RANGE.fullmatch(line.fields[0])]
        for lines in sentences[:_LOOKED_AT]
    ]
    counted = (
        words in ([str(i + begin) for i in range(len(words))] for begin in (0, 1))
        for words in firsts
    )
    return len(firsts) >= _FEWEST and all(counted)


def _has_gap(line: Line, word: int, tag: int | None) -> bool:
    return not all(line.fields[at] for at in (word, tag) if at is not None)


def _raggedness(line: Line, width: int) -> str:
    return f"{several(len(line.fields), 'field')} instead of {width}"
