"""The report: one page that a manager reads, and that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.release import report
from assets.release.same_rows import SameRows
from tests.release.conftest import MakeRelease, Release
from tests.release.evaluated import HOSTILE, compared
from tests.release.material import DRIFT, LABELS, METRICS, QUALITY, entry, measurements

TRUE = ["ham"] * 6 + ["spam"] * 4
ONE_WRONG = ["spam", *TRUE[1:]]
TWO_WRONG = ["spam", "spam", *TRUE[2:]]
OLD = (entry(0, "old", "old", why="the first <one>"),)
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page is made of.

    Attributes:
        text: its words, white space made one.
        tags: every tag in order.
        attributes: every attribute of every tag.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, "every element is closed"
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in {"style", "script"}:
            self._words.append(data)


PROMOTED = """✓ Promoted: the new model replaces the champion Its accuracy on 10 test rows is 0.9000 : 0.1000 above the
champion and 0.1000 above the baseline."""
REFUSED = """✕ Refused: the new model is kept out of use; the champion stays Its accuracy on 10 test rows is 0.8000 :
0.1000 below the champion and level with the baseline."""
UNCHANGED = """= Unchanged: training gave the very model that is in use already Its accuracy on 10 test rows is 0.9000 :
0.1000 above the baseline."""


@pytest.mark.parametrize(
    ("new", "champion", "challenger", "verdict"),
    [
        (ONE_WRONG, TWO_WRONG, "new", PROMOTED),
        (TWO_WRONG, ONE_WRONG, "new", REFUSED),
        (ONE_WRONG, ONE_WRONG, "old", UNCHANGED),
    ],
    ids=["promoted", "refused", "unchanged"],
)
def test_the_verdict_comes_first(
    new: list[str], champion: list[str], challenger: str, verdict: str, release: MakeRelease
) -> None:
    page = Page(release(TRUE, new, baseline=TWO_WRONG, champion=champion, challenger=challenger, log=OLD).report)
    body = page.text[page.text.index("UTC") + 4 :]
    assert body.startswith(verdict.replace("\n", " "))


@pytest.mark.parametrize(
    ("floor", "verdict"), [(None, "is the first champion"), (0.95, "kept out of use; there is no champion yet")]
)
def test_the_first_model(floor: float | None, verdict: str, release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG, floor=floor).report).text
    assert verdict in text
    assert "Champion – none so far" in text


def test_reasons_of_a_refusal_are_beside_the_verdict(release: MakeRelease) -> None:
    made = release(TRUE, TWO_WRONG, champion=TRUE, log=OLD, floor=0.7)
    text = Page(made.report).text
    assert text.index(made.message("champion")) < text.index("Why")
    assert text.index(made.message("floor")) > text.index("Every condition of the gate")
    assert f"Reaches the floor {made.message('floor')} 0.8000 – ≥ 0.7000 ✓ met" in text
    assert f"Not worse than the champion {made.message('champion')} 0.8000 – ≥ 1.0000 ✕ not met" in text


def test_rows_left_out_are_told(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, champion=TWO_WRONG, log=OLD, trained_on={9: "train"})
    text = Page(made.report).text
    assert "on the 9 rows that it never saw" in text
    assert "the columns about the champion on the 9 that it was not trained on" in text


def test_a_missing_comparison_says_why(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG, log=OLD, champion_labels=("a", "b")).report).text
    assert "Champion – it knows none of the task's labels: it answers with a, b" in text


@pytest.mark.parametrize(("samples", "shown"), [(0, 0), (1, 1), (50, 3)])
def test_the_registry_gets_no_text_of_a_row_but_samples(samples: int, shown: int, release: MakeRelease) -> None:
    """Two errors, one of which the champion has right, and a third that is no error of the most confident ones."""
    texts = [f"secret {at} {'x' * 400}" for at in range(10)]
    new = ["spam", "spam", "spam", *TRUE[3:]]
    made = release(TRUE, new, champion=ONE_WRONG, log=OLD, texts=texts, samples=samples)
    whole = made.report
    # Of rows that only the champion has right the text comes from the splits, else from the evaluation.
    known = ["secret 0", "text 1", "text 2"]
    assert all(text in whole for text in known)
    assert "in place of their texts" not in whole
    page = made.report_for_registry
    assert [text in page for text in known] == [at < shown for at in range(3)]
    assert "x" * 300 not in page, "a sample has 300 characters"
    assert ("in place of their texts" in page) == (shown < 3)
    ids = [f"<code>{at:032x}</code>" for at in range(3)]
    assert [each in page for each in ids] == [at >= shown for at in range(3)]
    assert Page(page).text.startswith(Page(whole).text[:200]), "all else is as in the other"


def test_where_the_two_models_differ(release: MakeRelease) -> None:
    champion = [*TRUE[:7], "ham", "ham", TRUE[9]]
    text = Page(release(TRUE, ONE_WRONG, champion=champion, log=OLD).report).text
    assert (
        "Of 10 rows the two models answer 3 differently: only the new model is right on 2, only the champion on 1."
        in text
    )


def test_the_account_of_rows(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG).report).text
    assert "109 rows read from 2 files = 90 accepted + 6 in quarantine: 2 unreadable, 3 against an expectation" in text
    assert "+ 13 merged: 7 repeated, 6 equal after normalising" in text
    assert "not accounted for" not in text
    lost = release(TRUE, ONE_WRONG, measured=measurements(raw={"rows_read": 112, "files": 1}))
    assert "✕ 3 rows are not accounted for." in Page(lost.report).text
    assert "from 1 file " in Page(lost.report).text


@pytest.mark.parametrize("left_out", [{}, {"left_out": 0}, {"left_out": 1234}])
def test_rows_on_no_side_are_told(left_out: dict[str, int], release: MakeRelease) -> None:
    measured = measurements()
    made = release(TRUE, TRUE, measured={**measured, "splits": {**measured["splits"], **left_out}})
    told = "1,234 are on no side: they are in one group with a row of the test set"
    assert (told in Page(made.report).text) == (left_out == {"left_out": 1234})


def test_warnings_of_the_validation(release: MakeRelease) -> None:
    warnings = [
        {"type": "expect_median", "column": "text", "severity": "warning", "success": False, "observed": 61},
        {"type": "expect_rows", "column": None, "severity": "warning", "success": False, "observed": None},
    ]
    text = Page(release(TRUE, ONE_WRONG, measured=measurements(validated={"warnings": warnings})).report).text
    assert "Warning: expect_median (text) does not hold: 61" in text
    assert "Warning: expect_rows does not hold Quarantine" in text


def test_it_needs_nothing_from_elsewhere(release: MakeRelease) -> None:
    report = release(TRUE, ONE_WRONG, champion=TWO_WRONG, log=OLD, draw=True).report
    page = Page(report)
    assert page.tags.count("script") == 1
    [script] = re.findall(r"<script>(.*?)</script>", report, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'" in policy
    assert not re.search(r"\beval\(|new Function|fetch\(|XMLHttpRequest|import\(", script)
    assert not {"link", "img", "iframe", "object", "embed", "audio", "video", "base"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", report)
    loaded = [value for name, value in page.attributes if name in {"src", "href", "srcset", "action"}]
    assert all(value.startswith("#") for value in loaded)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert page.tags.count("figure") == 3


def test_it_reads_in_light_dark_and_print(release: MakeRelease) -> None:
    report = release(TRUE, ONE_WRONG, draw=True).report
    assert "@media (prefers-color-scheme: dark)" in report
    assert "@media print" in report
    used = set(re.findall(r"var\((--[a-z-]+)\)", report))
    light, dark, printed = (
        dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", part)) for part in report.split(":root {")[1:]
    )
    for colours in (light, dark, printed):
        assert used - {"--tone", "--tone-panel"} <= set(colours)


@pytest.mark.parametrize("scheme", [1, 2, 3], ids=["light", "dark", "print"])
def test_text_stands_out_from_its_background(scheme: int, release: MakeRelease) -> None:
    colours = dict(re.findall(r"(--[a-z-]+): #([0-9a-f]{6})", release(TRUE, ONE_WRONG).report.split(":root {")[scheme]))

    def luminance(name: str) -> float:
        """Relative luminance as WCAG 2.2 defines it."""
        channels = [int(colours[name][at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(text: str, background: str) -> float:
        low, high = sorted((luminance(text), luminance(background)))
        return (high + 0.05) / (low + 0.05)

    pairs = [(text, "--page") for text in ("--ink", "--muted", "--accent", "--good", "--bad", "--same")]
    pairs += [(name, f"{name}-panel") for name in ("--good", "--bad", "--same")]
    pairs += [("--ink", f"{name}-panel") for name in ("--good", "--bad", "--same")] + [("--on-accent", "--accent")]
    assert {pair: contrast(*pair) for pair in pairs if contrast(*pair) < 4.5} == {}


def test_foreign_text_stays_text(release: MakeRelease) -> None:
    labels = ("<b>ham</b>", "spam & co")
    true = [labels[0]] * 3 + [labels[1]]
    wrong = [labels[1]] * 2 + true[2:]
    texts = ["<script>alert('x')</script>", "</td></table>", "fine", "fine"]
    made = release(true, wrong, labels=labels, texts=texts, measured=measurements(labels), log=OLD, draw=True,
                   champion=wrong, champion_labels=labels)  # fmt: skip
    page = Page(made.report)
    assert page.tags.count("script") == 1
    assert "b" not in page.tags[page.tags.index("h2") :]
    for text in (*texts[:2], *labels, "the first <one>"):
        assert " ".join(text.split()) in page.text


def test_every_error_is_in_the_table(release: MakeRelease) -> None:
    true, wrong = ["ham"] * 15 + ["spam"], ["spam"] * 16
    assert release(true, wrong).report.count('<tr data-true="ham" data-answer="spam">') == 15
    assert "None: every test row is answered correctly." in Page(release(TRUE, TRUE).report).text


def test_earlier_decisions_newest_first(release: MakeRelease) -> None:
    log = tuple(entry(number, f"m{number}", "old", kind="decision") for number in range(12))
    log = (*log, entry(12, "old", "old"))
    text = Page(release(TRUE, TRUE, champion=TWO_WRONG, log=log).report).text
    told = [int(number) for number in re.findall(r"(\d+) 2026-03-04 05:06", text)]
    assert told == list(range(12, 2, -1))


def test_the_card_has_its_metrics_where_the_hub_looks_for_them(release: MakeRelease) -> None:
    from huggingface_hub import ModelCard

    made = release(TRUE, ONE_WRONG)
    card = ModelCard(made.card)
    data: Any = card.data
    metrics = made.decision["metrics"]
    assert data.model_name == "tiny"
    assert {(each.metric_type, each.metric_value) for each in data.eval_results} == {
        (name.removesuffix("_macro"), round(metrics[name], 4)) for name in METRICS
    }
    for each in data.eval_results:
        assert (each.task_type, each.dataset_split, each.dataset_revision) == (
            "text-classification",
            "test",
            "splits-digest",
        )
        assert each.metric_args == (None if each.metric_type == "accuracy" else {"average": "macro"})
    # What is read is what is written: the hub takes the card as it is.
    again: Any = ModelCard(str(card)).data
    assert again.to_dict() == data.to_dict()


def test_the_card(release: MakeRelease) -> None:
    labels = ("a|b", "plain")
    true = ["a|b"] * 3 + ["plain"] * 5
    card = release(true, true[::-1], baseline=true, labels=labels, measured=measurements(labels), floor=0.9).card
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n")
    for said in (
        "# tiny\n",
        "answers with one of 2 labels: a|b, plain.",
        "Gate: **refused**.\n- NOT MET: accuracy 0.2500; at least 0.9000 is required\n",
        "| accuracy | 0.2500 | 1.0000 |",
        "| a\\|b | 3 | 0.0000 | 0.0000 | 0.0000 |",
        "109 rows were read: 90 kept, 6 in quarantine, 13 merged as duplicates.",
        "| train | 60 | 30 | 30 |",
        "- Weakest label on the test rows: a|b (F1 0.0000, 3 rows).",
        "- Fewer than 30 test rows, so their numbers are rough: a|b, plain.",
        'mlflow.transformers.load_model("models:/tiny@champion")',
        "- splits: `splits-digest`",
    ):
        assert said in card
    assert "seconds" not in card


def test_labels_are_named_as_configured(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG).report).text
    assert all(f"{label} " in text for label in LABELS)


def test_drift_is_told_where_it_was_looked_for(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG, measured={**measurements(), "drift": DRIFT}).report).text
    assert "1,200 rows came in since champion 0123456789ab was made, from 5,000 rows" in text
    assert "Labels labels <differ> 0.2500 0.1000 < 0.0001 ✕ drift" in text
    assert "Lengths lengths <differ> 0.0500 0.1000 0.3000 ✓ none" in text
    assert "<ham> 80.0% 55.0%" in text
    nothing = {"champion": None, "reason": "no champion yet", "level": 0.01}
    text = Page(release(TRUE, ONE_WRONG, measured={**measurements(), "drift": nothing}).report).text
    assert "Drift Nothing was compared: no champion yet." in text
    assert "Drift" not in Page(release(TRUE, ONE_WRONG).report).text


def test_doubtful_labels_are_told_where_they_were_looked_for(release: MakeRelease) -> None:
    pairs = [{"label": "<ham>", "suggested": "spam", "count": 1200}]
    review = {"quarantined": 0, "judged": 4000, "suspects": 1200, "pairs": pairs}
    text = Page(release(TRUE, ONE_WRONG, measured={**measurements(), "review": review}).report).text
    assert "Doubtful labels 1,200 of 4,000 labels (30.0%) are contradicted by the other rows" in text
    assert "<ham> spam 1,200" in text
    none = {**review, "suspects": 0, "pairs": []}
    assert "Doubtful" not in Page(release(TRUE, ONE_WRONG, measured={**measurements(), "review": none}).report).text


def test_rows_of_files_that_are_gone_are_told(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG, measured=measurements(raw={"retained": 1200})).report).text
    assert "rows read from 2 files and, with 1,200 rows, from files that are gone" in text
    assert "gone" not in Page(release(TRUE, ONE_WRONG, measured=measurements(raw={"retained": 0})).report).text


def test_rows_with_conflicting_labels_are_in_the_table_of_the_quarantine(release: MakeRelease) -> None:
    assert "expect_text 3 readable 2 conflicting_labels 1" in Page(release(TRUE, ONE_WRONG).report).text


def test_the_champion_on_new_rows_is_told_where_it_was_measured(release: MakeRelease) -> None:
    text = Page(release(TRUE, ONE_WRONG, measured={**measurements(), "quality": QUALITY}).report).text
    assert "Macro F1 of champion 0123456789ab on rows" in text
    assert "newest 4,000 2,000 0.8500 0.8300 – 0.8700 ✕ below" in text
    assert "1 before it 300 300 0.9500 0.9200 – 0.9700 ✓ reached" in text
    assert "✕ The alarm stands : 1 of the last 2 batches are below the floor; it stands from 1, the newest" in text
    nothing = {**QUALITY, "reason": "no champion yet", "batches": []}
    text = Page(release(TRUE, ONE_WRONG, measured={**measurements(), "quality": nothing}).report).text
    assert "Nothing was measured: no champion yet." in text
    assert "newly labelled" not in Page(release(TRUE, ONE_WRONG).report).text


def full(made: Release, hostile: str = "") -> str:
    """The page of a release again, with everything that the gate may write down and rows that only the champion has."""
    metrics = json.loads((made.build.inputs["evaluation"] / "metrics.json").read_text(encoding="utf-8"))
    table = pq.read_table(made.build.inputs["evaluation"] / "predictions.parquet")
    decision = compared(made.decision, table["row_id"].to_pylist()[:1], hostile)
    scores = dict.fromkeys(METRICS, 0.9)
    same = SameRows(10, 0, challenger=scores, champion=scores, only_challenger=3, only_champion=2)
    report.write(made.build, {**decision, "champion_metrics": scores}, metrics, made.result["account"], same)
    return made.report


SECTIONS = {
    "findings": "Strengths and weaknesses Strengths It finds 98 % of spam. Weaknesses, and what to do Short texts",
    "slices": "length: short few rows 9 0.9000 0.8500 – 0.9400",
    "calibration": "Before calibration 0.0810 After calibration, as used 0.0210",
    "threshold": "“spam” is answered where its confidence is at least 0.3500. Chosen on the validation rows",
}


def test_what_the_evaluation_wrote_is_told_and_what_it_did_not_is_left_out(release: MakeRelease) -> None:
    text = Page(full(release(TRUE, ONE_WRONG, champion=TRUE, log=OLD, beside=""))).text
    old = release(TRUE, ONE_WRONG, champion=TRUE, log=OLD).report
    for anchor, said in SECTIONS.items():
        assert said in text
        assert f'id="{anchor}"' not in old
        assert f'href="#{anchor}"' not in old
    assert "accuracy on 10 test rows is 0.9000 (95 % interval 0.8600 – 0.9300)" in text
    assert "ham spam 14 7.0%" in text
    assert "interval" not in Page(old).text.replace("95 % interval Needed", "")


def test_what_the_gate_judged_is_told(release: MakeRelease) -> None:
    text = Page(full(release(TRUE, ONE_WRONG, champion=TRUE, log=OLD, beside=""))).text
    assert "(paired bootstrap) +0.0123 −0.0020 – +0.0270 ≥ −0.0050 ✓ met" in text
    assert "Latency 12 ms a row 12.0000 – ≤ 50.0000 ✓ met" in text
    assert "source: mail 800 0.9000 0.8500 – 0.9400 −0.0200 −0.0500 – +0.0100 ✕ yes" in text
    assert "text 0 ham spam 90.0 % was right" in text or "was right" in text


def test_no_text_gets_out_of_its_place(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, champion=TRUE, log=OLD, beside=HOSTILE, texts=[HOSTILE] * 10, draw=True)
    page = Page(full(made, HOSTILE))
    assert page.tags.count("script") == 2
    assert "b" not in page.tags[page.tags.index("h2") :]
    assert page.text.count("<script>alert('x')</script>") > 8


def test_equal_inputs_give_equal_pages(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, champion=TRUE, log=OLD, beside="", draw=True)
    first, again = (re.sub(r"<span>[^<]* UTC</span>", "", full(made)) for _ in range(2))
    assert first == again


def test_the_navigation_leads_to_what_is_there(release: MakeRelease) -> None:
    page = Page(full(release(TRUE, ONE_WRONG, champion=TRUE, log=OLD, beside="")))
    anchors = [value[1:] for name, value in page.attributes if name == "href"]
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(anchors) > 8
    assert set(anchors) <= set(ids)
    assert len(ids) == len(set(ids))
