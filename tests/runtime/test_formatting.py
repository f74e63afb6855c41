from __future__ import annotations

import pytest

from kdnas.runtime.formatting import as_interval, as_score, in_digits, in_millions, several


def test_nouns_follow_their_count() -> None:
    assert several(1, "thread") == "1 thread"
    assert several(0, "trial") == "0 trials"
    assert several(f"{0.5:g}", "epoch") == "0.5 epochs"


@pytest.mark.parametrize(
    ("number", "digits", "shown"),
    [
        (14_520_000, 1, "14.5M"),
        (14_520_000, 2, "14.52M"),
        (11_174_000_000, 1, "11,174.0M"),
        (100_000, 1, "0.1M"),
        (63_400, 1, "63k"),
        (63_400, 2, "63k"),
        (940_000, 0, "940k"),
        (188_000_000, 0, "188M"),
    ],
)
def test_small_models_are_not_rounded_to_nothing(number: int, digits: int, shown: str) -> None:
    assert in_millions(number, digits) == shown


@pytest.mark.parametrize(
    ("number", "digits", "shown"),
    [(1.25, 2, "1.2"), (0.913, 3, "0.913"), (99.4, 2, "99"), (99.6, 2, "100"), (1234, 2, "1,234")],
)
def test_large_numbers_have_no_exponent(number: float, digits: int, shown: str) -> None:
    assert in_digits(number, digits) == shown


def test_errors_in_small_units_keep_their_digits() -> None:
    assert [*map(as_score, (0.8186, -0.42, 3.12e-5, 0.0))] == [
        *("0.8186", "-0.4200", "3.1e-05", "0.0000"),
    ]
    assert as_interval((2.9e-5, 0.8)) == "2.9e-05 to 0.800"
    assert as_interval((0.0, 0.0451)) == "0.000 to 0.045"
