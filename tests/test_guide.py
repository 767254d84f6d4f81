"""YAML in the documentation is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from assets.config.gate import Gate
from assets.config.pipeline import Pipeline

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = blocks("guide.md")
SOURCES = [block for block in BLOCKS if "  source:" in block and "attributes:" not in block]


@pytest.mark.parametrize("block", SOURCES)
def test_a_source_can_be_copied(block: str) -> None:
    for text in (block, re.sub(r"^(\s+)# (?=\w+: )", r"\1", block, flags=re.MULTILINE)):
        given = yaml.safe_load(dedent(text))
        needed = {"task": {"labels": ["negative", "positive"]}, "base_model": {"name": "owner/name"}}
        assert Pipeline.model_validate({**needed, **given}).source


def test_every_place_is_shown() -> None:
    assert len(SOURCES) >= 4
    assert all(
        any(f"    {place}:" in block for block in SOURCES) for place in ("files", "sql", "huggingface", "labels")
    )


@pytest.mark.parametrize("page", ["evaluation.md", "gate.md", "models.md", "predict.md", "predictions.md"])
def test_a_section_can_be_copied(page: str) -> None:
    needed = {
        "task": {"labels": ["ham", "spam"]},
        "base_model": {"name": "owner/name"},
        "source": {"files": ["x.csv"], "columns": {"keep": ["language", "product", "sent"]}},
    }
    found = blocks(page)
    assert found
    for block in found:
        given = yaml.safe_load(dedent(block))
        assert set(Pipeline.model_validate({**needed, **given}).model_fields_set) > set(given)


def test_the_page_about_the_gate_has_its_defaults() -> None:
    (block,) = blocks("gate.md")
    shown = yaml.safe_load(block)["gate"]
    assert shown == Gate().model_dump()
    assert list(shown) == list(Gate.model_fields)
