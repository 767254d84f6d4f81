"""The release step: comparisons with floor, baseline and champion, and what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.progress import Event
from assets.release import log
from assets.store.runner import Runner, StepResult
from assets.store.step import LogEntry
from assets.tasks.classification import metrics
from tests.release.conftest import MakeRelease, OpenChain
from tests.release.material import LABELS, METRICS, TRUE, WHEN, entry

RIGHT = TRUE
ONE_WRONG = ["spam", *TRUE[1:]]
TWO_WRONG = ["spam", "spam", *TRUE[2:]]
OLD = (entry(0, "old", "old"),)
SIGNED = {"by": "ada", "when": WHEN, "why": "it misbehaved"}


def test_the_first_model_needs_no_champion(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, baseline=TWO_WRONG, above_baseline=0.0, floor=0.9)
    assert made.decision == {
        "decision": "promoted",
        "challenger": "new",
        "champion_before": None,
        "metric": "accuracy",
        "comparisons": made.result["comparisons"],
        "metrics": {name: metrics(TRUE, ONE_WRONG, LABELS)[name] for name in METRICS},
        "baseline": {name: metrics(TRUE, TWO_WRONG, LABELS)[name] for name in METRICS},
        "champion_metrics": None,
        "rows": 10,
        "rows_seen_by_champion": 0,
    }
    assert made.passed == {"floor": True, "baseline": True}
    assert made.result["champion"] == "new"
    assert not made.evaluated


@pytest.mark.parametrize(
    ("limits", "failed"),
    [
        ({"floor": 0.95}, "floor"),
        ({"above_baseline": 0.15}, "baseline"),
        ({"below_champion": 0.05}, "champion"),
    ],
)
def test_one_condition_that_is_not_met_refuses(limits: dict[str, float], failed: str, release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, baseline=TWO_WRONG, champion=RIGHT, log=OLD, **{"below_champion": None, **limits})
    assert made.passed == {failed: False}
    assert made.decision["decision"] == "refused"
    assert made.result["champion"] == "old"


@pytest.mark.parametrize(("below", "decision"), [(0.1, "promoted"), (0.09, "refused")])
def test_how_much_worse_than_the_champion_is_allowed(below: float, decision: str, release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, champion=RIGHT, log=OLD, below_champion=below)
    assert made.decision["decision"] == decision
    assert made.evaluated == ["old"]


def test_without_limits_everybody_is_promoted_and_the_champion_still_shown(release: MakeRelease) -> None:
    made = release(TRUE, TWO_WRONG, champion=RIGHT, log=OLD, below_champion=None)
    assert made.decision["decision"] == "promoted"
    assert made.decision["comparisons"] == []
    assert made.decision["champion_metrics"]["accuracy"] == 1.0
    assert "asks nothing" not in made.card
    assert "configured to ask nothing" in made.report


def test_rows_that_the_champion_was_trained_on_are_left_out(release: MakeRelease) -> None:
    # The champion is right only where it was trained or chosen: on the other rows the new model is better.
    champion = [*TRUE[:3], "spam", "spam", *TRUE[5:]]
    seen = {0: "train", 1: "validation", 2: "train", 5: "test"}
    made = release(TRUE, TWO_WRONG, champion=champion, log=OLD, trained_on=seen)
    assert made.decision["rows_seen_by_champion"] == 3
    assert made.decision["champion_metrics"]["accuracy"] == pytest.approx(5 / 7)
    assert made.passed == {"champion": True}
    assert "on the same 7 rows" in made.message("champion")
    assert made.decision["metrics"]["accuracy"] == 0.8, "the challenger's own metrics are on all rows"

    without = release(TRUE, TWO_WRONG, champion=champion, log=OLD)
    assert without.decision["rows_seen_by_champion"] == 0
    assert "on the same 10 rows" in without.message("champion")


@pytest.mark.parametrize("side", ["train", "validation"])
def test_a_text_that_the_champion_was_trained_on_counts_whatever_its_row_is_called(
    side: str, release: MakeRelease
) -> None:
    made = release(TRUE, TWO_WRONG, champion=RIGHT, log=OLD, same_texts={3: side, 4: side}, trained_on={4: side})
    assert made.decision["rows_seen_by_champion"] == 2
    assert "on the same 8 rows" in made.message("champion")


def test_a_row_in_a_group_with_one_that_the_champion_was_trained_on_counts(release: MakeRelease) -> None:
    made = release(TRUE, TWO_WRONG, champion=RIGHT, log=OLD, like=[5, 7], trained_on={1: "train"})
    assert made.decision["rows_seen_by_champion"] == 3
    assert "on the same 7 rows" in made.message("champion")


def test_every_split_that_the_champion_came_out_of_counts(release: MakeRelease) -> None:
    entries = (entry(0, "old", "old", inputs={"splits": "splits-of-1"}), *OLD)
    assert release(TRUE, RIGHT, log=entries, trained_on={0: "train"}).decision["rows_seen_by_champion"] == 1
    promoted = (entry(0, "old", None), LogEntry(1, log.promote((entry(0, "old", None),), "old", **SIGNED)))
    assert release(TRUE, RIGHT, log=promoted, trained_on={0: "train"}).decision["rows_seen_by_champion"] == 1


def test_a_label_without_rows_does_not_pull_the_average_down(release: MakeRelease) -> None:
    spam = dict.fromkeys(range(6, 10), "train")
    made = release(TRUE, RIGHT, champion=RIGHT, log=OLD, trained_on=spam, metric="f1_macro")
    assert made.decision["champion_metrics"]["f1_macro"] == 1.0


def test_a_champion_that_saw_every_row_cannot_be_compared(release: MakeRelease) -> None:
    seen = dict.fromkeys(range(10), "train")
    made = release(TRUE, RIGHT, champion=TWO_WRONG, log=OLD, trained_on=seen)
    assert made.decision["decision"] == "refused"
    assert "it was trained on all 10 test rows" in made.message("champion")
    assert "explicit promotion" in made.message("champion")
    assert not made.evaluated


def test_nothing_vouches_for_a_champion_that_was_adopted(release: MakeRelease) -> None:
    adopted = LogEntry(0, log.adopt((), "old", release="r", origin="elsewhere", by="ada", when=WHEN, why="because"))
    made = release(["ham", "spam"], ["ham", "spam"], champion=["ham", "ham"], log=[adopted])
    assert made.result["decision"] == "promoted"
    assert made.message("champion").endswith("; it was trained elsewhere, and may have seen these rows")


def test_a_champion_with_other_labels_cannot_be_compared(release: MakeRelease) -> None:
    made = release(TRUE, RIGHT, log=OLD, champion_labels=("ham", "junk"))
    assert made.decision["decision"] == "refused"
    assert "it answers with other labels (ham, junk): it never learned spam and the task has junk no more; only an" in (
        made.message("champion")
    )
    assert not made.evaluated


@pytest.mark.parametrize(
    ("labels", "said"),
    [(("ham", "spam", "junk"), ": the task has junk no more; only"), (("ham",), ": it never learned spam; only")],
)
def test_labels_that_only_one_of_both_knows_are_named(labels: tuple[str, ...], said: str, release: MakeRelease) -> None:
    assert said in release(TRUE, RIGHT, log=OLD, champion_labels=labels).message("champion")


@pytest.mark.parametrize("lost", ["old", "splits-of-old"])
def test_a_champion_that_the_store_lost_is_not_replaced_by_itself(lost: str, release: MakeRelease) -> None:
    """A fault of a disk must not change which model is in use; that and what a person can do is said."""
    made = release(TRUE, RIGHT, champion=TWO_WRONG, log=OLD, lost=lost)
    assert made.decision["decision"] == "refused"
    assert made.result["champion"] == "old"
    assert made.decision["champion_metrics"] is None
    assert made.message("champion") == (
        f"cannot be compared with the champion: the store has lost what belongs to it (object {lost} is damaged: it "
        "has rotted; after bringing it back from a backup, run `freshtune run tiny --force release`); only an explicit "
        "promotion can put it in use: `freshtune models tiny promote VERSION`"
    )
    assert f"object {lost} is damaged" in made.report
    assert not made.evaluated
    without = release(TRUE, RIGHT, champion=TWO_WRONG, log=OLD, lost=lost, below_champion=None)
    assert without.decision["decision"] == "promoted", "nobody asked for the comparison"


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_lost_champion_stops_no_run(harm: str, open_chain: OpenChain) -> None:
    first = ran(open_chain(1))
    champion = first.measurements["champion"]
    assert first.measurements["decision"] == "promoted"
    damage(open_chain(1), champion, harm)
    for seed in (2, 3):
        refused = ran(open_chain(seed))
        assert (refused.measurements["decision"], refused.measurements["champion"]) == ("refused", champion)
        assert f"the store has lost what belongs to it (object {champion[:12]} " in refused.outcomes["gate"].message
        assert refused.outcomes["gate"].warning
    # A person decides, and everything is as ever.
    runner = open_chain(3)
    entries = runner.store.log("default", "tiny")
    promoted = LogEntry(len(entries), log.promote(entries, entries[-1].fields["challenger"], **SIGNED))
    assert runner.store.append("default", "tiny", promoted)
    assert ran(open_chain(4)).measurements["decision"] == "promoted"


def test_a_lost_champion_that_is_built_again_is_compared_again(open_chain: OpenChain) -> None:
    champion = ran(open_chain(1)).measurements["champion"]
    damage(open_chain(1), champion, "gone")
    decided = [ran(open_chain(seed)).measurements["decision"] for seed in (2, 1, 2)]
    assert decided == ["refused", "unchanged", "promoted"]


def ran(runner: Runner) -> StepResult:
    """Run what the plan says; what became of the release."""
    for name in runner.plan().to_run:
        result = runner.run_step(name)
    assert result.step == "release"
    assert runner.plan().to_run == ()
    return result


def damage(runner: Runner, digest: str, harm: str) -> None:
    folder = Path(runner.store.url) / "objects" / digest[:2] / digest
    if harm == "gone":
        shutil.rmtree(folder)
        return
    weights = folder / "model" / "weights.json"
    weights.chmod(0o644)
    weights.write_bytes(b"")


def test_labels_in_another_order_are_the_same_labels(release: MakeRelease) -> None:
    assert release(TRUE, RIGHT, log=OLD, champion_labels=("spam", "ham")).passed == {"champion": True}


def test_the_champion_trained_again_changes_nothing(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, log=OLD, challenger="old", floor=0.99)
    assert made.decision["decision"] == "unchanged"
    assert made.result["champion"] == "old"
    assert made.passed == {"floor": False}, "that it does not meet the gate by now is still said"
    assert not made.evaluated


def test_a_rolled_back_model_returns_only_by_an_explicit_promotion(release: MakeRelease) -> None:
    entries = [*OLD, entry(1, "new", "new")]
    entries.append(LogEntry(2, log.rollback(entries, **SIGNED)))
    made = release(TRUE, RIGHT, champion=TWO_WRONG, log=entries)
    assert made.decision["decision"] == "refused"
    assert made.passed == {"champion": True, "rolled_back": False}
    assert release(TRUE, RIGHT, champion=TWO_WRONG, log=entries, challenger="newer").passed == {
        "champion": True,
        "rolled_back": True,
    }


@settings(deadline=None, derandomize=True, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from(LABELS), st.booleans()),
        min_size=4,
        max_size=12,
    )
)
def test_the_champion_is_compared_as_if_the_rows_it_saw_were_not_there(
    rows: list[tuple[str, str, str, bool]], release: MakeRelease
) -> None:
    kept = [row for row in rows if not row[3]]
    true, new, champion, _ = zip(*rows, strict=True)
    seen = {index: "train" for index, row in enumerate(rows) if row[3]}
    made = release(true, new, champion=champion, log=OLD, trained_on=seen)
    if not kept:
        assert made.decision["champion_metrics"] is None
        return
    left = release(*zip(*((t, n) for t, n, _, _ in kept), strict=True), champion=[c for _, _, c, _ in kept], log=OLD)
    assert made.decision["champion_metrics"] == left.decision["champion_metrics"]
    assert made.message("champion") == left.message("champion")


def test_equal_inputs_give_equal_content(release: MakeRelease) -> None:
    first, second = (release(TRUE, ONE_WRONG, champion=RIGHT, log=OLD) for _ in range(2))
    for name in ("decision.json", "card.md"):
        assert (first.build.content / name).read_bytes() == (second.build.content / name).read_bytes()
    assert sorted(path.name for path in first.build.content.iterdir()) == ["card.md", "decision.json"]


def test_the_verdict_is_reported(release: MakeRelease, events: list[Event]) -> None:
    release(TRUE, ONE_WRONG)
    assert events[-1]["text"] == "promoted: accuracy 0.9000"


MANY = ["ham", "spam"] * 100


def wrong(rows: int) -> list[str]:
    """Answers of which so many are wrong, of both labels alike."""
    return ["spam" if label == "ham" else "ham" for label in MANY[:rows]] + MANY[rows:]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
@pytest.mark.parametrize(
    ("promote_if", "margin", "new", "old", "decision"),
    [
        ("better", None, 0, 20, "promoted"),
        ("better", None, 18, 20, "refused"),
        ("better", 0.1, 0, 20, "refused"),
        ("not_worse", 0.05, 20, 20, "promoted"),
        ("not_worse", 0.05, 30, 20, "refused"),
        ("not_worse", None, 30, 20, "refused"),
    ],
)
def test_what_the_interval_must_prove(
    promote_if: str, margin: float | None, new: int, old: int, decision: str, metric: str, release: MakeRelease
) -> None:
    made = release(
        MANY,
        wrong(new),
        champion=wrong(old),
        log=OLD,
        metric=metric,
        below_champion=None,
        promote_if=promote_if,
        margin=margin,
    )
    assert made.decision["decision"] == decision
    assert made.passed == {"proven": decision == "promoted"}
    found = made.decision["comparisons"][0]
    assert found["difference"] == pytest.approx((old - new) / 200, abs=1e-3)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    assert found["rows"] == 200


def test_nothing_is_proven_about_a_label_without_rows(release: MakeRelease) -> None:
    spam = dict.fromkeys(range(6, 10), "train")
    made = release(
        TRUE,
        RIGHT,
        champion=RIGHT,
        log=OLD,
        trained_on=spam,
        metric="f1_macro",
        below_champion=None,
        promote_if="not_worse",
        margin=1.0,
    )
    assert made.decision["decision"] == "refused"
    assert "no row of spam is left that it was not trained on" in made.message("champion")


@pytest.mark.parametrize(("most", "decision"), [(1_000.0, "promoted"), (1e-6, "refused")])
def test_the_size_of_the_saved_model_is_limited(most: float, decision: str, release: MakeRelease) -> None:
    made = release(TRUE, TRUE, max_size_mb=most)
    assert made.decision["decision"] == decision
    assert "the saved model has 0.0 MB" in made.message("size")
    assert "the saved model has 0.0 MB" in made.report
