"""The release step: comparisons with floor, baseline and champion, and what it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.progress import Event
from assets.release import log, same_rows
from assets.store import ingredients
from assets.store.runner import Runner, StepResult
from assets.store.step import Build, LogEntry, Measurements
from assets.tasks.classification import metrics
from tests.release import material
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
        "reference": None,
        "metric": "accuracy",
        "comparisons": made.result["comparisons"],
        "metrics": {name: metrics(TRUE, ONE_WRONG, LABELS)[name] for name in METRICS},
        "baseline": {name: metrics(TRUE, TWO_WRONG, LABELS)[name] for name in METRICS},
        "champion_metrics": None,
        "slices": [],
        "flips": None,
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


def test_rows_count_that_a_model_knows_from_those_that_it_was_started_from(release: MakeRelease) -> None:
    entries = (entry(0, "old", "old", inputs={"splits": "splits-of-nothing"}),)
    seen = {0: "train", 1: "validation"}
    made = release(TRUE, RIGHT, log=entries, trained_on=seen, champion_inherited=["splits-of-before"])
    assert made.decision["rows_seen_by_champion"] == 2
    assert made.result["unseen"][0]["left_out"] == 2
    # Such a challenger is never trained: see assets.model.parent. The proof looks all the same.
    made = release(TRUE, RIGHT, log=entries, trained_on=seen, inherited=["splits-of-before"])
    assert made.decision["rows_seen_by_champion"] == 0
    assert made.result["unseen"][0]["seen_by_challenger"] == 2


def test_what_was_replaced_when_rows_were_forgotten_is_found(release: MakeRelease) -> None:
    first = entry(0, "old", "old", inputs={"splits": "splits-of-nothing"})
    fields = log.forget((first,), request=0, marked=(), replaced={"gone": "splits-of-before"}, removed=(), **SIGNED)
    made = release(TRUE, RIGHT, log=(first, LogEntry(1, fields)), trained_on={0: "train"}, champion_inherited=["gone"])
    assert made.decision["rows_seen_by_champion"] == 1


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (
            {"from": "champion", "champion": "0123456789abcdef", "why": ""},
            "with the weights of champion 0123456789ab",
        ),
        (
            {"from": "base", "champion": "0123456789abcdef", "why": ""},
            "from the base model: better on validation than from the champion",
        ),
        ({"from": "base", "champion": None, "why": "there is none"}, "from the base model: there is none"),
    ],
)
def test_card_and_report_tell_where_training_started(start: Measurements, said: str, release: MakeRelease) -> None:
    made = release(TRUE, RIGHT, measured=material.measurements(model={"start": start}))
    assert f"Training started {said}." in made.card
    assert said in made.report
    assert "raining started" not in release(TRUE, RIGHT).card


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


def test_a_champion_without_a_label_of_the_task_cannot_be_compared(release: MakeRelease) -> None:
    made = release(TRUE, RIGHT, log=OLD, champion_labels=("junk", "post"))
    assert made.decision["decision"] == "refused"
    assert "it knows none of the task's labels: it answers with junk, post; only an" in made.message("champion")
    assert not made.evaluated


def test_a_champion_that_never_learned_a_label_is_compared_on_the_rows_of_the_others(release: MakeRelease) -> None:
    """Four rows are of the new label: on the other six the challenger must hold its own."""
    champion = ["ham"] * 10
    made = release(TRUE, RIGHT, champion=champion, log=OLD, champion_labels=("ham",))
    assert made.decision["decision"] == "promoted"
    assert "on the same 6 rows" in made.message("champion")
    assert made.message("champion").endswith("; it never learned spam: 4 rows of that are left out")
    worse = release(TRUE, ONE_WRONG, champion=champion, log=OLD, champion_labels=("ham",))
    assert worse.decision["decision"] == "refused", "it answers with the new label where the old one is right"


def test_a_label_that_only_the_champion_knows_is_said(release: MakeRelease) -> None:
    made = release(TRUE, RIGHT, log=OLD, champion_labels=("ham", "spam", "junk"))
    assert made.decision["decision"] == "promoted"
    assert "the task has junk no more" in made.message("champion")


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_an_interval_holds_for_the_labels_that_both_know(metric: str, release: MakeRelease) -> None:
    """Every answer with the label that the champion never learned is an error, and nothing else is counted."""
    found = [
        release(
            MANY,
            [("spam" if at < 2 * new and at % 2 == 0 else label) for at, label in enumerate(MANY)],
            champion=["ham"] * len(MANY),
            log=OLD,
            champion_labels=("ham",),
            metric=metric,
            below_champion=None,
            promote_if="not_worse",
            margin=0.05,
        ).decision
        for new in (0, 10)
    ]
    assert [each["decision"] for each in found] == ["promoted", "refused"]
    whole = 10 / 100 if metric == "accuracy" else 1 - 2 * 90 / 190
    assert found[1]["comparisons"][0]["difference"] == pytest.approx(-whole, abs=1e-9)
    assert found[1]["comparisons"][0]["rows"] == 100


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


def test_a_champion_that_cannot_be_loaded_any_more_stops_no_run(
    open_chain: OpenChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade of transformers: it is as if it were lost. As the reference it keeps nobody out."""
    champion = ran(open_chain(1)).measurements["champion"]
    real = material.evaluate

    def evaluate(build: Build) -> Measurements:
        if build.digests["model"] == champion:
            raise DataError("no trained model can be loaded: KeyError: 'old'\nand more", where="a folder")
        return real(build)

    monkeypatch.setattr(material, "evaluate", evaluate)
    monkeypatch.setattr(ingredients, "code_pieces", lambda roots: dict.fromkeys(roots, "2"))
    refused = ran(open_chain(2))
    assert (refused.measurements["decision"], refused.measurements["champion"]) == ("refused", champion)
    said = "it cannot be scored any more (no trained model can be loaded: KeyError: 'old'); only an explicit promotion"
    assert said in refused.outcomes["gate"].message
    runner = open_chain(2)
    entries = runner.store.log("default", "tiny")
    # As the gate writes it, so that the reference is still the first.
    decided = {**entries[-1].fields, "decision": "promoted", "champion": entries[-1].fields["challenger"]}
    assert runner.store.append("default", "tiny", LogEntry(len(entries), decided))
    after = ran(open_chain(3)).measurements
    assert after["decision"] == "promoted"
    (reference,) = (each for each in after["comparisons"] if each["name"] == "reference")
    assert reference["message"].startswith("not compared with the reference champion: it cannot be scored any more")


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


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_it_is_said_that_no_model_could_prove_it(metric: str, release: MakeRelease) -> None:
    """A champion with three errors is beaten provably by nobody; one with twenty may be."""
    for old, hopeless in ((3, True), (20, False)):
        made = release(
            MANY, wrong(2), champion=wrong(old), log=OLD, metric=metric, below_champion=None, promote_if="better"
        )
        assert ("not even a model without errors could prove it" in made.message("proven")) == hopeless
        best = release(
            MANY, MANY, champion=wrong(old), log=OLD, metric=metric, below_champion=None, promote_if="better"
        )
        assert best.decision["decision"] == ("refused" if hopeless else "promoted")


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


def test_a_slice_that_is_significantly_worse_refuses(release: MakeRelease) -> None:
    parts = [["sms" if at < 40 else "mail"] for at in range(200)]
    new = wrong(12)
    old = MANY[:40] + ["spam" if label == "ham" else "ham" for label in MANY[40:60]] + MANY[60:]
    made = release(MANY, new, champion=old, log=OLD, parts=parts)
    assert made.passed == {"champion": True, "slices": False}
    assert made.decision["decision"] == "refused"
    assert "significantly worse: sms: accuracy 0.3000 below the champion on 40 rows" in made.message("slices")
    mail, sms = made.decision["slices"]
    assert (mail["name"], mail["rows"], mail["worse"]) == ("mail", 160, False)
    assert sms["difference"] == pytest.approx(-0.3)
    assert sms["interval"][0] < -0.3 < sms["interval"][1] < 0
    assert sms["p"] == pytest.approx(0.5**12)
    assert sms["adjusted_p"] == pytest.approx(2 * 0.5**12)

    told = release(MANY, new, champion=old, log=OLD, parts=parts, slices=False)
    assert told.decision["decision"] == "promoted"
    assert told.decision["slices"] == made.decision["slices"], "told, but nobody asked for it"


def test_a_handful_of_rows_never_alarms(release: MakeRelease) -> None:
    parts = [["rare"] if at < 4 else [] for at in range(200)]
    made = release(MANY, wrong(4), champion=MANY, log=OLD, parts=parts, below_champion=0.5)
    assert made.passed == {"champion": True, "slices": True}
    assert made.message("slices") == "none of 1 slices is significantly worse"


def test_rows_that_only_the_champion_has_right_are_written_down(release: MakeRelease) -> None:
    made = release(TRUE, TWO_WRONG, champion=[*TRUE[:-1], "ham"], log=OLD, trained_on={0: "train"})
    assert made.decision["flips"] == {
        "only_challenger": 1,
        "only_champion": 1,
        "both_wrong_differently": 0,
        "rows": [f"{1:032x}"],
    }


def test_a_model_that_meets_every_condition_waits_where_promotion_is_manual(release: MakeRelease) -> None:
    made = release(TRUE, RIGHT, champion=ONE_WRONG, log=OLD, promotion="manual")
    assert (made.result["decision"], made.result["champion"]) == ("accepted", "old")
    assert "Accepted" in made.report
    assert release(TRUE, TWO_WRONG, champion=ONE_WRONG, log=OLD, promotion="manual").result["decision"] == "refused"
    assert release(TRUE, RIGHT, promotion="manual").result["champion"] is None


def test_small_losses_do_not_add_up(release: MakeRelease) -> None:
    """Each champion is a row worse than the one before, as it may be; the third is two rows worse than the first."""
    first, second = entry(0, "first", "first"), entry(1, "second", "second")
    answers = {"first": RIGHT, "second": ONE_WRONG}
    made = release(TRUE, TWO_WRONG, others=answers, log=(first, second), below_champion=0.1)
    assert made.passed == {"champion": True, "reference": False}
    assert made.decision["decision"] == "refused"
    assert made.decision["reference"] == "first"
    assert made.message("reference") == (
        "accuracy 0.8000 is 0.2000 below the reference champion's 1.0000 on the same 10 rows; required: at most "
        "0.1000 below it"
    )
    assert release(
        TRUE, TWO_WRONG, others=answers, log=(first, second), below_champion=0.1, reference=False
    ).passed == {"champion": True}


def test_a_reference_that_is_lost_is_said(release: MakeRelease) -> None:
    entries = (entry(0, "first", "first"), entry(1, "second", "second"))
    made = release(TRUE, RIGHT, log=entries, lost="first")
    assert made.decision["decision"] == "promoted"
    assert made.message("reference").startswith("not compared with the reference champion: the store has lost")


def test_floors_of_several_metrics(release: MakeRelease) -> None:
    made = release(TRUE, ONE_WRONG, floor={"accuracy": 0.9, "recall_macro": 0.99})
    assert made.passed == {"floor_accuracy": True, "floor_recall_macro": False}


@pytest.mark.parametrize(("most", "passed"), [(0.021, True), (0.02, False)])
def test_the_calibration_error_has_a_limit(most: float, passed: bool, release: MakeRelease) -> None:
    assert release(TRUE, RIGHT, max_ece=most, beside="").passed == {"calibration": passed}


def test_a_calibration_error_that_nobody_measured_is_not_met(release: MakeRelease) -> None:
    assert release(TRUE, RIGHT, max_ece=1.0).passed == {"calibration": False}


def test_that_no_compared_row_was_seen_is_counted_again(release: MakeRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    made = release(TRUE, RIGHT, log=OLD, trained_on={0: "train", 3: "validation"})
    found = {"compared_with": "champion", "rows": 8, "left_out": 2, "seen_by_challenger": 0, "seen_by_other": 0}
    assert made.result["unseen"] == [found]
    monkeypatch.setattr(same_rows, "_seen", lambda *_: set())
    made = release(TRUE, RIGHT, log=OLD, trained_on={0: "train", 3: "validation"})
    assert made.result["unseen"] == [{**found, "rows": 10, "left_out": 0, "seen_by_other": 2}]


@pytest.mark.parametrize(("most", "decision"), [(1_000.0, "promoted"), (1e-6, "refused")])
def test_the_size_of_the_saved_model_is_limited(most: float, decision: str, release: MakeRelease) -> None:
    made = release(TRUE, TRUE, max_size_mb=most)
    assert made.decision["decision"] == decision
    assert "the saved model has 0.0 MB" in made.message("size")
    assert "the saved model has 0.0 MB" in made.report
