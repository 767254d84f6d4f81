"""How fast personal data is masked: rows a second of `cleaning.mask_pii` with every kind, beside Presidio's own engine.

    python -m benchmarks.masking --data ../shared/data --json

Texts are those of banking77 and sst2, 2,000 of each, which have hardly any digits, and the same with a planted entity
in every second text. The peer is Presidio's AnalyzerEngine over a blank spaCy pipeline with the same recognisers; both
must find the same kinds. One process, one core, in seconds of that core, without the import, which is given apart.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assets.cleaned.masking import KINDS, finder, mask_text, recognisers

TEXTS = 2_000
PLANTED = (
    "ada@example.org",
    "+49 30 901820",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "192.168.1.20",
    "https://example.org/u/ada?q=1",
)


def read(data: Path) -> list[str]:
    """Texts of both data sets."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        banking = [row["text"] for row in csv.DictReader(file)]
    sst = (data / "sst2" / "stsa.binary.train").read_text("latin-1").splitlines()
    return [*banking[:TEXTS], *(line.partition(" ")[2] for line in sst[:TEXTS])]


def engine() -> Callable[[str], set[str]]:
    """The peer: which kinds of entities a text has."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        """Tokens only."""

        def __init__(self) -> None:
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

    of_kind = {recogniser.supported_entities[0]: kind for kind, recogniser in recognisers().items()}
    registry = RecognizerRegistry(recognizers=list(recognisers().values()), supported_languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: {of_kind[found.entity_type] for found in analyzer.analyze(text, language="en")}


def rate(work: Callable[[str], Any], texts: list[str]) -> tuple[float, list[Any]]:
    """Texts a second, and what came of each."""
    started = time.process_time()
    found = [work(text) for text in texts]
    return len(texts) / (time.process_time() - started), found


def measure(data: Path) -> dict[str, Any]:
    """Measure both."""
    plain = read(data)
    planted = [f"{text} {PLANTED[at // 2 % len(PLANTED)]}" if at % 2 else text for at, text in enumerate(plain)]
    started = time.process_time()
    find = finder(KINDS)
    find("warm: ada@example.org")
    imports = time.process_time() - started
    peer = engine()
    peer("warm: ada@example.org")
    results: dict[str, Any] = {"texts": len(plain), "imports": imports}
    agree = 0
    for name, texts in (("plain", plain), ("planted", planted)):
        ours_rate, masked = rate(lambda text: mask_text(text, find)[1], texts)
        peer_rate, found = rate(peer, texts)
        # Where entities overlap the engine names them all; a text without any must have none in both.
        agree += sum(bool(one) == bool(other) and one <= other for one, other in zip(masked, found, strict=True))
        ratio = ours_rate / peer_rate
        results[name] = {"rows_per_second": ours_rate, "peer_rows_per_second": peer_rate, "ratio": ratio}
    share = agree / (2 * len(plain))
    least = min(results[name]["ratio"] for name in ("plain", "planted"))
    figures = (
        ("texts in which both find the same, share", share, 1.0, share >= 1.0),
        ("rows/s against Presidio's engine, least ratio", least, 1.5, least >= 1.5),
    )
    return {
        **results,
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "targets": [{"name": name, "value": value, "target": goal, "met": met} for name, value, goal, met in figures],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77 and sst2")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    given = parser.parse_args()
    result = measure(given.data.resolve())
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']:.4g} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
