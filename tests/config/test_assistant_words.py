"""How assistants are spelled: shapes, sparsities, trials and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdnas import KdnasError
from kdnas.config import validated
from kdnas.config.assistants import (
    as_given,
    assistants_in,
    in_a_path,
    in_words,
    is_checkpoint,
    is_trained_for_this,
    shape_in,
)
from kdnas.runs.run_folder import absolute_assistants

PAIR = "6+2x256-h8+4-f1024-gelu_new-d64"


@pytest.mark.parametrize(
    ("given", "word", "name"),
    [
        ("4x384", "4x384", "4x384"),
        ("4X384 h12 f1024", "4x384-h12-f1024", "4x384"),
        ("4x384-f1024-h12", "4x384-h12-f1024", "4x384"),
        ("half", "half", "half"),
        ("6+2x256", "6+2x256", "6+2x256"),
        (PAIR, PAIR, "6+2x256"),
        ("4-h12", "4-h12", "4"),
    ],
)
def test_a_shape_is_an_assistant(given: str, word: str, name: str) -> None:
    assert assistants_in(given) == (word,) and shape_in(word)
    assert is_trained_for_this(word) and not is_checkpoint(word)
    assert in_words([word, "0.6"]) == f"{name},60%"
    assert as_given(["/runs/a/student", word]) == f"/runs/a/student,{name}"
    assert in_a_path([word, "0.6", "trial-3"]) == f"{word}-60-trial-3"


def test_what_is_no_shape() -> None:
    for word in ("auto", "trial-3", "0.6", "60%", "4", "a", "./half", "runs/4x384", "4x384-8"):
        assert shape_in(word) is None


def test_only_a_slash_makes_a_folder_of_a_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on from any folder as it began."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "mine").mkdir()
    text = absolute_assistants("half,./half,mine")
    assert text == f"half,{tmp_path / 'half'},{tmp_path / 'mine'}"
    assert [is_checkpoint(word) for word in assistants_in(text)] == [False, True, True]


def test_shapes_stand_where_sparsities_may() -> None:
    for words in ("4x384,0.6,3x384,0.7", "trial-3,4x384", "/x/y,4x384,0.5"):
        validated({"pruned": "ziplm", "sparsity": 0.8, "assistants": words})
    validated({"architecture": "2x128", "assistants": ["4x384", "half-h12"]})


@pytest.mark.parametrize(
    ("assistants", "message"),
    [
        ("4x384-h12,trial-3", "4x384,trial-3: trial-3 is a student already and learns from none"),
        ("4x384,/x/y", "4x384,/x/y: /x/y is a student already"),
        ("4x384,auto", "4x384,auto: auto finds the only assistant"),
        ("4", "4: expected shares above 0 .*; of a shape give the hidden size, too"),
        ("4x384,0.9", "4x384,0.9: give each once, the lowest first, and all below --sparsity"),
        (
            "4x384-8",
            "4x384-8: expected sparsities .* or shapes, such as 4x384; .* no folder '4x384",
        ),
    ],
)
def test_lists_with_shapes_that_contradict_themselves(assistants: str, message: str) -> None:
    with pytest.raises(KdnasError, match=f"^invalid --assistants {message}") as error:
        validated({"pruned": "ziplm", "sparsity": 0.8, "assistants": assistants})
    assert "\n" not in str(error.value)


def test_a_student_that_is_not_pruned_has_shapes_in_place_of_sparsities() -> None:
    with pytest.raises(KdnasError, match="this one is not pruned; give shapes, such as 4x384, a t"):
        validated({"architecture": "2x128", "assistants": "4x384,0.5"})
