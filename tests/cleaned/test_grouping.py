"""Groups that are kept for large shards and found again are those of a search among all texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.cleaned.grouping import groups_of, in_company
from assets.store.step import Build, Part
from assets.store.store import Store
from tests.cleaned.search import group
from tests.tiny import make_shard

TEXTS = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=7).map(" ".join), max_size=12)
SETTINGS: dict[str, Any] = {"unicode": "NFC", "whitespace": True, "near_duplicates": {"similarity": 0.5, "ngram": 1}}


def prepared(build: Build, store: Store, texts: list[str], name: str) -> Part:
    table = pa.table(
        {
            "row_id": pa.array([f"{name}{at:031x}" for at in range(len(texts))], pa.string()),
            "text": pa.array(texts, pa.string()),
            "label": pa.array(["x"] * len(texts), pa.string()),
        }
    )
    assert build.part is not None
    return build.part("assets.cleaned.shard:prepare", SETTINGS, inputs={"shard": make_shard(store, table)})


def partition(groups: list[int]) -> list[int]:
    """Groups named by their first place."""
    return [groups.index(each) for each in groups]


@settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=4).filter(any), st.integers(0, 4))
def test_large_shards_that_are_known_and_small_ones_give_the_groups_of_all_texts(
    make_build: Callable[..., Build], store: Store, shards: list[list[str]], large: int
) -> None:
    build = make_build()
    parts = [prepared(build, store, texts, str(at)) for at, texts in enumerate(shards)]
    found = groups_of(build, parts, min(large, len(parts)), 0.5)
    texts = [text for shard in shards for text in shard]
    expected = group(texts, similarity=0.5, ngram=1)
    assert partition(found.tolist()) == expected
    sizes = {name: len({texts[at] for at, each in enumerate(expected) if each == name}) for name in expected}
    assert all(in_company(found)[at] for at, name in enumerate(expected) if sizes[name] > 1)
    assert not in_company(np.arange(3)).any()


def test_the_groups_of_large_shards_are_found_again(make_build: Callable[..., Build], store: Store) -> None:
    build = make_build()
    asked: list[str] = []
    real = build.part
    assert real is not None

    def part(function: str, *given: Any, **named: Any) -> Part:
        asked.append(function)
        found = real(function, *given, **named)
        keys.append(found.digest)
        return found

    keys: list[str] = []
    large = prepared(build, store, [f"{at} of many" for at in range(200)], "a")
    small = prepared(build, store, ["7 of many", "something else"], "b")
    watched = Build(**{**vars(build), "part": part})
    groups_of(watched, [large], 1, 0.5)
    groups_of(watched, [large, small], 1, 0.5)
    assert asked == ["assets.cleaned.grouping:settle"] * 2
    assert len(set(keys)) == 1
