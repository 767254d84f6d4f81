"""The search's page: what it says, in whose colours, and what it leaves out."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.pages import page
from assets.pages.charts import png, svg
from assets.search import plots, report
from tests.search.trainer import ANY

SPACE: dict[str, Any] = {
    "training.learning_rate": {**ANY, "low": 1e-5, "high": 1e-3, "log": True},
    "training.schedule": {**ANY, "choices": ["linear", "cosine"]},
    "training.layer_decay": {**ANY, "choices": [None, 0.9]},
    "training.epochs": {**ANY, "low": 2, "high": 6, "step": 2},
}
PRESENT = {
    "training.learning_rate": 1e-4,
    "training.schedule": "linear",
    "training.layer_decay": None,
    "training.epochs": 2,
}


def trial(number: int, score: float | None, outcome: str = "trained", **more: Any) -> dict[str, Any]:
    settings = {
        "training.learning_rate": 1e-4 if number == 1 else 2e-05 * number,
        "training.schedule": ("linear", "cosine")[(number + 1) % 2],
        "training.layer_decay": (None, 0.9)[(number + 1) % 2],
        "training.epochs": 2 + 2 * ((number + 2) % 3),
    }
    measured = {"loss": score, "accuracy": 0.9, "f1_macro": 0.8} if outcome == "trained" else None
    known: dict[str, Any] = {"epochs": 2, "seconds": 1.25, "known": False, "why": "", "measured": measured}
    return {"number": number, "outcome": outcome, "settings": settings, "score": score, **known, **more}


TRIALS = [
    trial(1, 0.5),
    trial(2, 0.25),
    trial(3, 4.0, "stopped early"),
    trial(4, None, "failed", why="the loss of step 3 is <nan>"),
    trial(5, 0.125, known=True),
    trial(6, 0.3),
]

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(trials: Sequence[dict[str, Any]] = TRIALS, best: int = 5, **changed: Any) -> str:
        given: dict[str, Any] = {
            "pipeline": "<tiny>",
            "select_by": "loss",
            "seeds": 1,
            "space": SPACE,
            "present": PRESENT,
            "importance": {"training.learning_rate": 0.75, "training.epochs": 0.25},
        }
        report.write(tmp_path, trials, best, **{**given, **changed})
        return (tmp_path / "report.html").read_text()

    return make


class Texts(HTMLParser):
    """The text of a page without its style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._inside = ""
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in {"style", "script"}:
            self.found.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.found).split())


def test_the_result_is_said_first_beside_the_training_as_it_is_configured(write: Write) -> None:
    said = str(Texts(write()))
    assert "Trial 5 of 6 is the best: validation loss 0.1250" in said
    assert "The training as it is configured (trial 1) has 0.5000. Validation side, lower is better." in said
    assert "4 of 6 trials" in said
    assert "<tiny>" in said
    assert "the loss of step 3 is <nan>" in said
    said = str(Texts(write(best=1)))
    assert "The training as it is configured was not beaten." in said
    said = str(Texts(write(present={**PRESENT, "training.epochs": 3}, seeds=3)))
    assert (
        "was not tried: its values are not in the space. Validation side, lower is better; mean over 3 seeds." in said
    )
    # The best may be the first and still not be the configured one, which a search that was killed may have later.
    said = str(Texts(write(best=1, present={**PRESENT, "training.epochs": 3})))
    assert "was not tried: its values are not in the space." in said
    other = {**PRESENT, "training.epochs": 9}
    said = str(Texts(write([{**trial(1, 0.5), "settings": other}, {**trial(2, 0.6), "settings": PRESENT}], 1)))
    assert "The training as it is configured (trial 2) has 0.6000." in said
    failed = {**trial(1, 0.5), "outcome": "failed", "score": None, "measured": None, "why": "it is nan"}
    said = str(Texts(write([{**failed, "settings": PRESENT}, {**trial(2, 0.6), "settings": other}], 2)))
    assert "The training as it is configured (trial 1): failed." in said


def test_the_best_settings_can_be_pasted(write: Write) -> None:
    html = write()
    pasted = re.search(r"<pre><code>(.*?)</code></pre>", html, re.DOTALL)
    assert pasted is not None
    training = yaml.safe_load(unescape(pasted[1]))["training"]
    # By the letter of YAML 1.1, where a number must have a point.
    assert {f"training.{name}": value for name, value in training.items()} == TRIALS[4]["settings"]
    small = [trial(1, 0.5), {**trial(2, 0.25), "settings": {**PRESENT, "training.learning_rate": 1e-05}}]
    pasted = re.search(r"<pre><code>(.*?)</code></pre>", write(small, 2), re.DOTALL)
    assert pasted is not None
    assert yaml.safe_load(unescape(pasted[1]))["training"]["learning_rate"] == 1e-05


def test_every_trial_is_in_the_table_and_in_the_file(write: Write, tmp_path: Path) -> None:
    html = write()
    rows = [str(Texts(row)) for row in re.findall(r"<tr[ >].*?</tr>", html, re.DOTALL)]
    assert len(rows) == 1 + len(TRIALS)
    assert rows[0].split()[:4] == ["Trial", "Outcome", "validation", "loss"]
    assert rows[5] == "5 trained known 0.1250 4 null 0.0001 linear 0.9000 0.8000 2 1.2"
    assert "failed the loss of step 3 is <nan> – " in rows[4]
    assert json.loads((tmp_path / "trials.json").read_text()) == TRIALS


def test_it_needs_nothing_else_and_runs_its_own_script_alone(write: Write) -> None:
    html = write()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", html)
    assert page.frame()["script_hash"] in html
    assert len(html) < 120_000
    for chart in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        # Colours are the page's, so light, dark and print are one drawing.
        assert not re.search(r"#[0-9a-fA-F]{3,}(?![\w-])", re.sub(r"url\(#\w+\)|href=\"#\w+\"", "", chart))
        ET.fromstring(chart)  # noqa: S314 - ours


def test_every_trial_with_a_score_is_a_mark_that_says_what_it_is(write: Write) -> None:
    html = write()
    said = "trial 5, trained: 0.1250; learning_rate 0.0001, schedule linear, layer_decay null, epochs 4"
    assert html.count(f'aria-label="{said}"') == 2, "in the history, and where its line ends"
    assert "trial 3, stopped early: 4.0000; " in html
    assert "trial 4, failed" not in html
    assert 'aria-label="learning_rate: 75%"' in html


def test_importance_is_left_out_where_too_little_tells(write: Write, tmp_path: Path) -> None:
    assert "Too few trials were trained to the end" in write(importance=None)
    assert not (tmp_path / "importance.png").exists()
    one = {"training.learning_rate": SPACE["training.learning_rate"]}
    trials = [{**each, "settings": {"training.learning_rate": 1e-4 * each["number"]}} for each in TRIALS]
    assert "One setting was searched for" in write(trials, importance=None, space=one)


def test_one_trial_is_a_page_too(write: Write) -> None:
    assert "Trial 1 of 1 is the best" in write([trial(1, 0.5)], 1, importance=None)


def test_higher_may_be_better(write: Write) -> None:
    trials = [
        {**each, "measured": each["measured"] and {**each["measured"], "f1_macro": each["score"]}} for each in TRIALS
    ]
    said = str(Texts(write(trials, 1, select_by="f1_macro")))
    assert "Trial 1 of 6 is the best: validation macro F1 0.5000" in said
    assert "higher is better" in said


def test_pictures_have_the_colours_of_the_light_page(write: Write, tmp_path: Path) -> None:
    write()
    for name in ("history", "importance", "parallel"):
        data = (tmp_path / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        # Dagster shows pictures up to this size beside the asset.
        assert len(data) < 500_000
    assert page.light()["--accent"] == "#1f5fa8"
    spec = {"mark": {"type": "bar", "color": "var(--accent)"}, "data": {"values": [{"a": 1}]}, "encoding": {}}
    assert png(spec) == png({**spec, "mark": {"type": "bar", "color": "#1f5fa8"}}) != png({**spec, "mark": "bar"})
    assert "var(--accent)" in svg(spec, "a bar")


def test_places_on_axes() -> None:
    rate, schedule, decay, epochs = SPACE.values()
    assert [plots.place(rate, value) for value in (1e-5, 1e-4, 1e-3)] == pytest.approx([0, 0.5, 1])
    assert [plots.place(schedule, value) for value in ("linear", "cosine")] == [0, 1]
    assert [plots.place(decay, value) for value in (None, 0.9)] == [0, 1]
    assert [plots.place(epochs, value) for value in (2, 4, 6)] == [0, 0.5, 1]


def test_a_few_bad_scores_do_not_press_the_others_together() -> None:
    trials = [trial(number, score) for number, score in enumerate((0.1, 0.11, 0.12, 50.0), start=1)]
    spec = plots.history(trials, 1, "loss", minimise=True)
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < 0.1
    assert 0.12 < high < 1
    spec = plots.history([{**each, "score": -each["score"]} for each in trials], 1, "score", minimise=False)
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == (-high, -low)
