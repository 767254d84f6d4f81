"""What the guide says about sources is YAML that is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from assets.config.pipeline import Pipeline

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
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
