"""Lists of what arrives: nothing is lost or reordered, a slow source is answered soon, errors arrive last."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cli.arriving import arriving


@settings(deadline=None, derandomize=True, max_examples=30)
@given(count=st.integers(0, 50), most=st.integers(1, 9))
def test_everything_arrives_in_its_order(count: int, most: int) -> None:
    lists = list(arriving(range(count), most, 0.01))
    assert [item for each in lists for item in each] == list(range(count))
    assert all(1 <= len(each) <= most for each in lists)


def test_a_slow_source_is_answered_before_it_ends() -> None:
    answered = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        # Waits for ever if the first one is not given out while the source is open.
        assert answered.wait(30)
        yield 2

    lists = arriving(slow(), 100, 0.01)
    assert next(lists) == [1]
    answered.set()
    assert list(lists) == [[2]]


def test_a_fast_source_gives_full_lists() -> None:
    assert [len(each) for each in arriving(range(250), 100, 30.0)] == [100, 100, 50]


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    lists = arriving(broken(), 10, 30.0)
    assert next(lists) == [1]
    with pytest.raises(ValueError, match="broken"):
        next(lists)


def test_whoever_leaves_ends_the_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    lists = arriving(endless(), 2, 0.01)
    next(lists)
    lists.close()  # type: ignore[attr-defined]
    assert closed.wait(30)
