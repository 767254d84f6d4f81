from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from assets.errors import DataError
from assets.progress import Progress
from assets.store.threads import AT_ONCE, side_by_side


def test_results_come_in_order_though_later_ones_are_done_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
        elif item == 1:
            second_is_done.set()
        return item * item

    assert [done() for done in side_by_side(work, range(20))] == [item * item for item in range(20)]


def test_no_more_than_so_many_at_the_same_time() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work(item: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    for done in side_by_side(work, range(12)):
        done()
    assert most == AT_ONCE


def test_an_error_is_raised_by_whoever_asks_for_the_result_and_the_others_are_made() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise DataError("is bad", where="b", fix="mend it")
        return item

    first, second, third = side_by_side(work, range(3))
    assert (first(), third()) == (0, 2)
    with pytest.raises(DataError, match="is bad"):
        second()


def test_what_was_not_begun_is_not_done_for_whoever_gives_up() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        return item

    for done in side_by_side(work, range(100)):
        assert done() == 0
        break
    assert len(begun) < 10


def test_progress_is_told_in_the_callers_thread_as_it_comes() -> None:
    said: list[tuple[Any, str]] = []
    first_was_told = threading.Event()

    def sink(event: dict[str, Any]) -> None:
        said.append((threading.current_thread(), event["text"]))
        first_was_told.set()

    progress = Progress("raw", sink)

    def work(item: int) -> None:
        progress.message(f"begins {item}")
        assert first_was_told.wait(10), "it is told only when the work is done"

    for done in side_by_side(work, range(3)):
        done()
        progress.message("done")
    assert {thread for thread, _ in said} == {threading.current_thread()}
    assert sorted(text for _, text in said) == ["begins 0", "begins 1", "begins 2", "done", "done", "done"]
