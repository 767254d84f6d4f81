from __future__ import annotations

from pathlib import Path

from assets.config.reference import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run: python -m assets.config.reference > docs/configuration.md"
    )


def test_every_field_says_what_is_accepted_and_what_it_means() -> None:
    rows = [line.split(" | ") for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert all(len(row) == 4 and row[1] and row[3].removesuffix(" |") for row in rows)
    assert (
        "| `training.weight_decay` | number ≥ 0, ≤ 1 | `0.01` | Decoupled weight decay; norms and biases have none. |"
        in markdown()
    )
    assert (
        "| `gate.floor` | number ≥ 0, ≤ 1 or mapping or null | `null` | Least value of the metric; or of " in markdown()
    )
