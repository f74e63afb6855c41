"""What the commands share."""

from __future__ import annotations

from kdnas.cli.options import spelled


def test_flags_are_repeated_as_they_were_given() -> None:
    given = {"controls": False, "jobs": "2", "device": "a b"}
    assert spelled(given) == " --no-controls --jobs 2 --device 'a b'"
    assert spelled({"controls": True, "final_seeds": 3}) == " --controls --final-seeds 3"
    assert spelled({}) == ""
