"""The shape of one student as given: `6x256`, `6x256-h8-f1024-relu`, `half`, or a mapping.

`6x256-e64` has factorised embeddings, a table of width 64.
That of an encoder-decoder has its decoder behind a plus: `6+2x256-h8+4-f1024+512`.

What is left out is derived from the teacher (`kdnas.space.given_shape`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from kdnas.runtime.shown import quoted, shown

LAYERS, WIDTH, HEADS = "num_hidden_layers", "hidden_size", "num_attention_heads"
NEURONS, ACTIVATION = "intermediate_size", "hidden_act"
# No choice, but part of a shape that is spelled in full: `-d64`.
HEAD_SIZE = "own_head_size"
DECODERS = {
    LAYERS: "num_decoder_layers",
    HEADS: "decoder_attention_heads",
    NEURONS: "decoder_intermediate_size",
}
FIELDS = (LAYERS, WIDTH, HEADS, NEURONS, ACTIVATION, *DECODERS.values())
# Which not every family has.
EMBEDDINGS = "embedding_size"
KNOWN = (*FIELDS, EMBEDDINGS, HEAD_SIZE)
# In place of a number of layers: every second one of the teacher, as in DistilBERT (Sanh et al.
# 2019), or as many as it has.
HALF, ALL = "half", "all"
EXPECTED = (
    "expected LAYERSxWIDTH, such as 6x256 or 6x256-h8-f1024-relu, or half; of an encoder-decoder "
    "6+2x256"
)
# What a person calls a number of the shape, in a sentence with "is" or "are".
TOLD = {
    LAYERS: "{} layers are",
    WIDTH: "hidden size {} is",
    HEADS: "{} heads are",
    NEURONS: "feed-forward size {} is",
    DECODERS[LAYERS]: "{} decoder layers are",
    DECODERS[HEADS]: "{} decoder heads are",
    DECODERS[NEURONS]: "decoder feed-forward size {} is",
    EMBEDDINGS: "embedding size {} is",
}

Shape = dict[str, int | str]


def read_shape(value: object) -> Shape:
    """The fields that a text or a mapping gives, in the order of KNOWN.

    Raises:
        ValueError: What is wrong, in one line.
    """
    pairs = list(value.items() if isinstance(value, Mapping) else _of_text(value))
    if not pairs:
        raise _wrong(value, EXPECTED)
    found: Shape = {}
    for name, given in pairs:
        if name in found:
            raise _wrong(value, f"{name} stands twice; give it once")
        found[name] = _checked(value, name, given)
    for name in (HEADS, NEURONS):
        if DECODERS[name] in found and name not in found:
            raise _wrong(value, f"{DECODERS[name]} stands alone; give {name}, too")
    if found.get(LAYERS) == ALL:
        del found[LAYERS]
    # A decoder that is left out is as deep beside its encoder as the teacher's: here it is whole.
    if LAYERS not in found and found.get(DECODERS[LAYERS]) == ALL:
        del found[DECODERS[LAYERS]]
    return {name: found[name] for name in KNOWN if name in found}


def shape_text(shape: Mapping[str, int | str]) -> str:
    """A shape as a shell takes it: `6x256-h8-f1024-relu`."""
    marks = {WIDTH: "x", HEADS: "-h", NEURONS: "-f", EMBEDDINGS: "-e"}
    marks |= {ACTIVATION: "-", HEAD_SIZE: "-d"}

    def both(name: str, own: int | str) -> str:
        decoder = shape.get(DECODERS.get(name, ""))
        return f"{own}" if decoder is None else f"{own}+{decoder}"

    parts = [f"{mark}{both(name, shape[name])}" for name, mark in marks.items() if name in shape]
    return f"{both(LAYERS, shape.get(LAYERS, ALL))}{''.join(parts)}"


def _of_text(value: object) -> Iterator[tuple[str, int | str]]:
    """The fields of a text; `6x384 h12 f1536 gelu`, as reports print it, is one, too."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(value, EXPECTED)
    first, *parts = re.split(r"[\s-]+", str(value).strip().lower())
    depth = rf"(\d{{1,9}}|{HALF}|{ALL})"
    stack = re.fullmatch(rf"{depth}(?:\+{depth})?(?:x(\d{{1,9}}))?", first)
    if stack is None:
        raise _wrong(value, EXPECTED)
    for name, layers in ((LAYERS, stack[1]), (DECODERS[LAYERS], stack[2])):
        if layers:
            yield name, layers if layers in (HALF, ALL) else int(layers)
    if stack[3]:
        yield WIDTH, int(stack[3])
    for part in parts:
        if number := re.fullmatch(r"([hf])(\d{1,9})(?:\+(\d{1,9}))?", part):
            name = HEADS if number[1] == "h" else NEURONS
            yield name, int(number[2])
            if number[3]:
                yield DECODERS[name], int(number[3])
        elif number := re.fullmatch(r"e(\d{1,9})", part):
            yield EMBEDDINGS, int(number[1])
        elif size := re.fullmatch(r"d(\d{1,9})", part):
            yield HEAD_SIZE, int(size[1])
        elif re.fullmatch(r"[a-z]\w*", part):
            yield ACTIVATION, part
        else:
            raise _wrong(value, EXPECTED)


def _checked(value: object, name: object, given: object) -> int | str:
    if name not in KNOWN:
        near = difflib.get_close_matches(str(name), KNOWN, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KNOWN)}"
        raise _wrong(value, f"unknown field {quoted(str(name))}; {hint}")
    if name == ACTIVATION:
        if not isinstance(given, str) or not re.fullmatch(r"[a-z]\w*", given):
            raise _wrong(value, f"{name} {shown(given)}: give an activation, such as gelu")
        return given
    if name in (LAYERS, DECODERS[LAYERS]) and given in (HALF, ALL):
        return str(given)
    if type(given) is not int:
        raise _wrong(value, f"{name} {shown(given)}: give a whole number")
    if given < 1 and not (name == LAYERS and given == 0):  # a static student
        told = TOLD.get(str(name), "head size {} is").format(given)
        raise _wrong(value, f"{told} less than 1; give 1 or more")
    return given


def _wrong(value: object, reason: str) -> ValueError:
    return ValueError(f"invalid --architecture {shown(value)}: {reason}")
