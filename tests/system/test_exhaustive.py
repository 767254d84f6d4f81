"""All of what `make test` takes a sample of, by the same code: it needs no server, but minutes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.staleness.test_faults import folder_outlives, object_storage_outlives
from tests.staleness.test_machine import random_changes

pytestmark = pytest.mark.system


@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["kill", "raise"])
def test_a_folder_outlives_a_fault_at_every_operation(fault: str, *, repair: bool) -> None:
    folder_outlives(fault, repair=repair)


@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["raise", "late"])
def test_object_storage_outlives_a_fault_at_every_operation(fault: str, *, repair: bool) -> None:
    object_storage_outlives(fault, repair=repair)


def test_random_changes_waste_no_build_and_miss_none(record_property: Callable[[str, object], None]) -> None:
    random_changes(60, record_property)
