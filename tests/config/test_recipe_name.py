"""What stands behind the name of a recipe: one spelling, and what is refused."""

from __future__ import annotations

import pytest

from kdnas.config.recipe_name import RecipeName
from kdnas.errors import KdnasError


@pytest.mark.parametrize(
    ("word", "spelled", "short"),
    [
        ("relations", "relations", "relations"),
        (" relations@0.30 ", "relations@0.3", "relations@0.3"),
        ("relations@task=.5@Logits=2.0@0.3", *2 * ("relations@0.3@logits=2@task=0.5",)),
        ("pkd@first_token= 2", *2 * ("pkd@first-token=2",)),
        ("relations@1@logits=1", "relations", "relations"),
        ("a@b/own.YAML@logits=1e-3", "a@b/own.YAML@logits=0.001", "own@logits=0.001"),
        ("my@own.yaml@2", "my@own.yaml@2", "my-own@2"),
        ("C:\\x@1\\own.yml@hidden=3", "C:\\x@1\\own.yml@hidden=3", None),
        ("a@b/own", "a@b/own", "a@b/own"),
    ],
)
def test_it_has_one_spelling(word: str, spelled: str, short: str | None) -> None:
    name = RecipeName.read(word)
    assert str(name) == spelled and RecipeName.read(spelled).changes == name.changes
    assert short is None or name.short == short
    assert RecipeName.read(name.short).changes == name.changes


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a@", "expected one number above 0 behind the @, such as a@0.3, or losses with one each"),
        ("a@2@logits=2@3", "expected one number above 0 behind the @"),
        ("a@logits", "such as a@0.3, or losses with one each, such as a@logits=2"),
        ("a@logits=0", "expected a number above 0 behind logits=, by which the weight of that"),
        *((f"a@logits={given}", "expected a number above 0") for given in ("-1", "x", "inf", "")),
        ("a@logits=nan", "expected a number above 0"),
        ("a@logits=2@task=2@Logits=2", "logits stands there twice; give each loss one number"),
    ],
)
def test_what_is_no_number_is_refused(word: str, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        RecipeName.read(word)
    assert str(caught.value).startswith(f"invalid recipe '{word}': ")
    assert message in str(caught.value) and "\n" not in str(caught.value)
