"""Which tokens a smaller vocabulary keeps, so that a tokenizer with it does what it did before.

On texts whose tokens are all kept, a cut tokenizer gives the same tokens, whatever else is gone:

- WordPiece takes the longest piece that fits, and the longest of all is still there.
- Byte-pair encoding joins by rank; every pair that it joined is there, since a kept token keeps the
  tokens that it is made of.
- Unigram takes the likeliest segmentation; that of before is there, with its score. What an unknown
  character costs depends on the rarest piece, which is therefore kept.

On any other text, pieces that are gone are read as smaller ones, down to the alphabet, which is
kept: nothing becomes unknown that was not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from kdnas.errors import KdnasError

State = dict[str, Any]
Merge = tuple[str, str]
# The kinds of models of the tokenizers package that can be cut.
WORDPIECE, BPE, UNIGRAM = "WordPiece", "BPE", "Unigram"
KINDS = (WORDPIECE, BPE, UNIGRAM)
# What BERT's and RoBERTa's own post-processors put around a text.
OWN_ENDS = ("sep", "cls")


def state_ids(state: State) -> dict[str, int]:
    """The ids by token of a tokenizer's state, which is its tokenizer.json; added tokens, too."""
    vocab = state["model"]["vocab"]
    known: Iterable[tuple[str, int]] = (
        vocab.items() if isinstance(vocab, Mapping) else ((p, i) for i, (p, _) in enumerate(vocab))
    )
    return {**dict(known), **{token["content"]: token["id"] for token in state["added_tokens"]}}


def with_needed(state: State, seen: Iterable[int]) -> set[int]:
    """The ids of some tokens and of all that a tokenizer needs beside them.

    Raises:
        KdnasError: The tokenizer is of another kind, such as one of whole words.
    """
    model, ids = state["model"], state_ids(state)
    kept = {*seen, *(token["id"] for token in state["added_tokens"])}
    kept |= _ids_of_ends(state.get("post_processor"))
    if model["type"] == WORDPIECE:
        return kept | {ids[token] for token in _wordpiece_alphabet(model)}
    if model["type"] == BPE:
        return _with_parts(model, ids, kept)
    if model["type"] == UNIGRAM:
        return kept | _unigram_alphabet(model)
    raise KdnasError(
        f"a tokenizer of the kind {model['type']} cannot be cut: every token that is left out "
        "would be unknown; give --vocabulary teacher"
    )


def renumbered(state: State, kept: list[int]) -> State:
    """The state of a tokenizer with these tokens alone, numbered from 0 in their order.

    `kept` are ids, ascending, with all that `with_needed` asks for.
    """
    place = {old: new for new, old in enumerate(kept)}
    model = dict(state["model"])
    if model["type"] == UNIGRAM:
        pieces = model["vocab"]
        model["vocab"] = [pieces[old] for old in kept if old < len(pieces)]
        if model["unk_id"] is not None:
            model["unk_id"] = place[model["unk_id"]]
    else:
        vocab = {token: place[old] for token, old in model["vocab"].items() if old in place}
        model["vocab"] = vocab
    if model["type"] == BPE:
        model["merges"] = [
            [left, right]
            for left, right in map(_pair, model["merges"])
            if {left, right, _joined(model, (left, right))} <= model["vocab"].keys()
        ]
    added = [{**token, "id": place[token["id"]]} for token in state["added_tokens"]]
    after = _renumbered_ends(state.get("post_processor"), place)
    return {**state, "model": model, "added_tokens": added, "post_processor": after}


def _wordpiece_alphabet(model: State) -> set[str]:
    """Single characters, at the start of words and within; and what has one that is no piece."""
    vocab: dict[str, int] = model["vocab"]
    mark: str = model["continuing_subword_prefix"]

    def characters(token: str) -> list[str]:
        within = token.startswith(mark) and token != mark
        bare = token.removeprefix(mark) if within else token
        return [char if i == 0 and not within else mark + char for i, char in enumerate(bare)]

    parts = {token: characters(token) for token in vocab}
    own = {model["unk_token"]} & vocab.keys()
    single = {token for token, chars in parts.items() if chars == [token]}
    # A vocabulary that was made by hand may have a character in longer pieces alone.
    closed = {token for token, chars in parts.items() if len(chars) > 1 and _lacks(chars, vocab)}
    return own | single | {token for token in closed if not _is_marker(token)}


def _lacks(chars: list[str], vocab: Mapping[str, int]) -> bool:
    return any(char not in vocab for char in chars)


def _is_marker(token: str) -> bool:
    """Whether a token is a placeholder such as `[unused7]`, which no text gives."""
    return token.startswith("[") and token.endswith("]")


def _unigram_alphabet(model: State) -> set[int]:
    """Single characters and bytes, what has a character that is no piece, and the rarest piece."""
    pieces = [piece for piece, _ in model["vocab"]]
    scores = [score for _, score in model["vocab"]]
    single = {piece for piece in pieces if len(piece) == 1}
    kept = {scores.index(min(scores))} | ({model["unk_id"]} - {None})
    for number, piece in enumerate(pieces):
        is_byte = model.get("byte_fallback") and piece.startswith("<0x")
        if len(piece) == 1 or is_byte or not set(piece) <= single:
            kept.add(number)
    return kept


def _with_parts(model: State, ids: Mapping[str, int], kept: set[int]) -> set[int]:
    """Tokens, with what they are joined from and all that nothing is joined to: the alphabet."""
    made: dict[str, list[Merge]] = defaultdict(list)
    for merge in map(_pair, model["merges"]):
        made[_joined(model, merge)].append(merge)
    token_of = {number: token for token, number in ids.items()}
    atoms = {ids[token] for token in model["vocab"] if token not in made}
    found, left = kept | atoms, list(kept)
    while left:
        for part in (part for merge in made[token_of[left.pop()]] for part in merge):
            if ids[part] not in found:
                found.add(ids[part])
                left.append(ids[part])
    return found


def _pair(merge: str | list[str]) -> Merge:
    """A merge, which older files write as one text."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _joined(model: State, merge: Merge) -> str:
    mark = model.get("continuing_subword_prefix") or ""
    return merge[0] + merge[1].removeprefix(mark)


def _ids_of_ends(after: Any) -> set[int]:
    """The ids of what puts special tokens around a text, or between two, which none may have."""
    if after is None:
        return set()
    if after["type"] == "Sequence":
        return {number for part in after["processors"] for number in _ids_of_ends(part)}
    named = [token["ids"] for token in after.get("special_tokens", {}).values()]
    own = {after[end][1] for end in OWN_ENDS if end in after}
    return own.union(*named)


def _renumbered_ends(after: Any, place: Mapping[int, int]) -> Any:
    """What puts special tokens around a text, with their new ids."""
    if after is None:
        return None
    if after["type"] == "Sequence":
        parts = [_renumbered_ends(part, place) for part in after["processors"]]
        return {**after, "processors": parts}
    changed = dict(after)
    for end in OWN_ENDS:
        if end in after:
            changed[end] = [after[end][0], place[after[end][1]]]
    if "special_tokens" in after:
        changed["special_tokens"] = {
            name: {**token, "ids": [place[old] for old in token["ids"]]}
            for name, token in after["special_tokens"].items()
        }
    return changed
