"""A sample of the bad inputs of run.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hostile.session import sample
from hostile.world import World, made_world, run_case

# Cases of each kind: fewer of those that train or copy a run.
SIZES = {"types": 3, "options": 6, "yaml": 6, "data": 3, "texts": 4, "runs": 3, "environment": 4}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    before = dict(os.environ)
    # Whatever else the machine does: times are a matter of run.py.
    with made_world(limit=120) as made:
        yield made
    os.environ.clear()
    os.environ.update(before)


# What `types` reads takes half a minute to make.
KINDS = [pytest.param(k, marks=() if k != "types" else pytest.mark.slow) for k in SIZES]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_bad_input_is_refused_or_coped_with(world: World, kind: str) -> None:
    failed = []
    for case in sample(world, 0, SIZES[kind], kind):
        result, wrong = run_case(world, case)
        if wrong:
            failed.append(f"{case.what}: {wrong}: {result.error[-300:]}")
    assert not failed, "\n".join(failed)
