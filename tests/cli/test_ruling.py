"""Finding rows and writing rulings down, apart from the command line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cli.exported import DROP, FORMULA, label_config, neutral
from assets.cli.ruling import Target, Wish, begins, rule
from assets.errors import ConfigurationError

HEX = st.text("0123456789abcdef", min_size=32, max_size=32) | st.sampled_from(["0" * 32, "f" * 32, "0" * 16 + "f" * 16])


@settings(deadline=None, derandomize=True)
@given(st.lists(HEX, min_size=1, max_size=8), st.data())
def test_rows_are_found_by_the_beginnings_of_their_identifiers(names: list[str], data: st.DataObject) -> None:
    ids = np.array([[int(name[:16], 16), int(name[16:], 16)] for name in names], np.uint64)
    prefix = data.draw(st.sampled_from(names))[: data.draw(st.integers(1, 32))]
    assert begins(ids, prefix).tolist() == [name.startswith(prefix) for name in names]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of the rows of a pipeline as `rule` asks for."""
    (tmp_path / "pipelines" / "tiny").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    config = SimpleNamespace(task=SimpleNamespace(labels=("ham", "spam")))
    runner = SimpleNamespace(name="tiny", config=config, home=SimpleNamespace(path=tmp_path / "home"))
    return SimpleNamespace(runner=runner, doubted={})


def drop(number: int) -> Wish:
    return Wish(Target(f"{number:032x}", f"text {number}", "ham"), "drop", None, "x", "ann", "2026-03-01")


def test_of_many_who_rule_at_once_nobody_is_lost(rows: Any, tmp_path: Path) -> None:
    threads = [threading.Thread(target=rule, args=(rows, [drop(2 * at), drop(2 * at + 1)])) for at in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "pipelines" / "tiny" / "rulings.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["text"] for line in lines) == sorted(f"text {number}" for number in range(24))


def test_a_row_without_a_text_cannot_be_ruled_on(rows: Any) -> None:
    wish = Wish(Target("0" * 32, None, "ham"), "drop", None, "x", "ann", "2026-03-01")
    with pytest.raises(
        ConfigurationError, match="row 00000000: has no text, and stays in quarantine; fix: mend the sou"
    ):
        rule(rows, [drop(1), wish])
    assert list(Path("pipelines/tiny").iterdir()) == []


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=4) | st.sampled_from(FORMULA).flatmap(lambda first: st.text(max_size=3).map(first.__add__)))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    cell = neutral(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell in {text, f"'{text}"}
    assert neutral(cell) == cell
    assert neutral(5) == 5
    assert neutral(None) is None


def test_labels_are_written_as_xml_and_none_is_the_choice_that_drops() -> None:
    assert '<Choice value="a &amp; &lt;b&gt;"/>' in label_config(["a & <b>", "c"])
    with pytest.raises(
        ConfigurationError, match=r"task.labels: the task has a label 'drop', which is .*\n  fix: rule on"
    ):
        label_config(["keep", DROP])
