"""Training that starts from the champion, or from either: what it comes to, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch  # noqa: TID253 - this module tests torch code
from safetensors.torch import load_file

from assets.model import loop
from assets.model import train as train_module
from assets.model.starts import Start, Trained, best_of
from assets.model.train import train
from assets.progress import Event, Progress
from assets.store.digests import files_under
from assets.store.step import Build, Observation
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.model.test_train import ARGUMENTS, see
from tests.tiny import LABELS, make_rows, make_splits

ONE = {**ARGUMENTS, "epochs": 1}
LEARNS = {**ARGUMENTS, "epochs": 8, "learning_rate": 1e-2, "head_learning_rate": 1e-2}
# So little that next to nothing changes: what comes out is what was put in.
STILL = {**ONE, "learning_rate": 1e-9, "head_learning_rate": 1e-9}

Begin = Callable[..., Build]


@pytest.fixture(scope="module")
def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture(scope="module")
def splits(store: Store) -> Path:
    return make_splits(store, make_rows(200, seed=0))


@pytest.fixture(scope="module")
def champion(make_shared: MakeBuild, splits: Path, base: Path) -> Path:
    """Content of a model that has learned."""
    build = make_shared({"splits": splits}, see(base))
    train(build, **LEARNS)
    return build.content


@pytest.fixture
def begin(make_build: MakeBuild, splits: Path, base: Path, champion: Path) -> Begin:
    """What a training from this champion is given."""
    digest = "c" * 64

    def make(folder: Path | None = champion, why: str = "there is no champion yet") -> Build:
        ancestor = json.dumps({"model": digest, "splits": ["s"]})
        seen = {
            "champion": Observation("input", "promotion log", digest, objects=(digest,)),
            "champion_ancestors": Observation("input", "promotion log", digest, values=(ancestor,)),
        }
        if folder is None:
            seen = {"champion": Observation("input", "promotion log", "", values=(why,))}
        return make_build({"splits": splits}, {**see(base), **seen}, stored={digest: folder}.__getitem__)

    return make


def weights(content: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(content / "model" / "model.safetensors")
    return found


def history(build: Build) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((build.content / "history.json").read_bytes())
    return found


def files(build: Build) -> dict[str, bytes]:
    return {path.relative_to(build.content).as_posix(): path.read_bytes() for path in files_under(build.content)}


def like(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.allclose(found[name], weight, atol=1e-6) for name, weight in wanted.items())


def test_it_goes_on_from_what_the_champion_learned(
    begin: Begin, champion: Path, events: list[Event], base: Path, make_build: MakeBuild, splits: Path
) -> None:
    build = begin()
    found = train(build, **STILL, start="champion")

    assert like(weights(build.content), weights(champion)), "the head's rows too"
    assert found["validation"]["f1_macro"] > 0.9
    digest = "c" * 64
    assert found["start"] == {"from": "champion", "champion": digest, "why": "", "ancestors": [digest]}
    assert "starts" not in found
    assert history(build)["ancestors"] == [{"model": digest, "splits": ["s"]}]
    assert "trainings" not in history(build)
    said = [event["text"] for event in events if event["kind"] == "message"]
    assert "starting from the champion cccccccccccc" in said


@pytest.mark.parametrize("start", ["champion", "either"])
def test_without_a_champion_it_is_a_start_from_the_base_model_to_the_last_byte(
    begin: Begin, events: list[Event], start: Literal["champion", "either"]
) -> None:
    plain, build = begin(), begin(None)
    assert "start" not in train(plain, **ONE)

    found = train(build, **ONE, start=start)

    assert files(build) == files(plain)
    why = "there is no champion yet"
    assert found["start"] == {"from": "base", "champion": None, "why": why, "ancestors": []}
    assert f"starting from the base model: {why}" in [event.get("text") for event in events]


def test_a_champion_that_cannot_be_loaded_any_more_is_no_reason_to_stop(begin: Begin, tmp_path: Path) -> None:
    plain, build = begin(), begin(tmp_path / "nothing")
    train(plain, **ONE)

    found = train(build, **ONE, start="champion")

    assert files(build) == files(plain)
    assert found["start"]["from"] == "base"
    assert found["start"]["why"].startswith("the champion cannot be loaded any more: ")
    assert found["start"]["champion"] == "c" * 64, "which one it was is told"


def test_outputs_are_matched_by_the_names_of_the_labels_and_a_new_one_is_new(
    begin: Begin, champion: Path, events: list[Event], make_build: MakeBuild, splits: Path, base: Path
) -> None:
    fresh = make_build({"splits": splits}, see(base))
    labels = ("spam", "eggs", "ham")
    train(fresh, **{**STILL, "labels": labels})
    build = begin()
    train(build, **{**STILL, "labels": labels}, start="champion")

    found, new, old = (weights(each) for each in (build.content, fresh.content, champion))
    assert LABELS == ("ham", "spam")
    for name in ("classifier.weight", "classifier.bias"):
        wanted = torch.stack([old[name][1], new[name][1], old[name][0]])
        assert torch.allclose(found[name], wanted, atol=1e-6)
    said = [event.get("text") for event in events]
    assert "starting from the champion cccccccccccc; it never learned eggs" in said


@pytest.mark.parametrize(("settings", "kept"), [({}, "champion"), ({"learning_rate": 2e-2, "epochs": 3}, None)])
def test_either_keeps_the_better_on_validation_and_tells_of_both(
    begin: Begin, events: list[Event], settings: dict[str, Any], kept: str | None
) -> None:
    arguments = {**STILL, "select_by": "loss", **settings}
    from_base, from_champion, build = begin(), begin(), begin()
    train(from_base, **arguments)
    train(from_champion, **arguments, start="champion")

    found = train(build, **arguments, start="either")

    made = {"base": from_base, "champion": from_champion}
    curves = {
        name: {key: history(each)[key] for key in ("steps", "epochs", "best_epoch")} for name, each in made.items()
    }
    lowest = {name: min(epoch["loss"] for epoch in curve["epochs"]) for name, curve in curves.items()}
    best = min(lowest, key=lambda name: lowest[name])
    assert kept in {best, None}
    assert found["start"]["from"] == best
    # What was trained alone, to the last byte.
    own = history(build)
    assert own.pop("trainings") == [
        {"start": "base", "champion": None, **curves["base"]},
        {"start": "champion", "champion": "c" * 64, **curves["champion"]},
    ]
    assert own == history(made[best])
    assert (build.content / "model" / "model.safetensors").read_bytes() == (
        made[best].content / "model" / "model.safetensors"
    ).read_bytes()
    assert {name: each["loss"] for name, each in found["starts"].items()} == lowest
    assert found["validation"]["loss"] == lowest[best]
    assert any(f"; the start from the {best} is kept" in event.get("text", "") for event in events)


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
def test_each_has_all_threads_and_those_of_the_one_that_is_kept_are_recorded(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    had: list[int] = []

    def settle(*_: object) -> None:
        had.append(torch.get_num_threads())
        torch.set_num_threads(1 if len(had) == 1 else 2)

    monkeypatch.setattr(loop, "settle_threads", settle)
    monkeypatch.setattr(train_module, "best_of", lambda trained, *_: trained[0])
    build = begin()
    found = train(build, **STILL, start="either")

    assert had == [2, 2]
    told = json.loads((build.trace / "timing.json").read_bytes())
    assert (told["threads"], told["device"], found["device"]) == (1, "CPU (1 threads)", "CPU (1 threads)")


@pytest.mark.parametrize(
    ("select_by", "of_base", "of_champion", "kept"),
    [
        ("accuracy", 0.9, 0.8, "base"),
        ("accuracy", 0.9, 0.9, "base"),
        ("accuracy", 0.8, 0.9, "champion"),
        ("loss", 0.2, 0.1, "champion"),
    ],
)
def test_the_better_is_kept_and_of_equals_the_one_from_the_base_model(
    select_by: str, of_base: float, of_champion: float, kept: str
) -> None:
    """It has nothing of what earlier models learned."""

    def trained(start: Start, value: float) -> Trained:
        fitted: Any = SimpleNamespace(epochs=[{select_by: 1 - value}, {select_by: value}], best=1)
        return Trained(start, None, None, fitted)

    done = [trained(Start(), of_base), trained(Start(champion="c"), of_champion)]
    assert best_of(done, select_by, Progress("model")).start.name == kept


def test_low_rank_updates_are_added_to_the_weights_of_the_champion(begin: Begin, champion: Path) -> None:
    build = begin()
    train(build, **{**STILL, "lora_rank": 4}, start="either")
    assert history(build)["ancestors"]
    assert like(weights(build.content), weights(champion))


def test_checkpoints_of_a_training_from_elsewhere_are_not_its_own(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets.errors import TransientError
    from tests.model.test_resume import steps_done, stop_after

    plain, build = begin(), begin()
    train(plain, **ONE, start="champion")
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(TransientError):
            train(build, **ONE)
    steps = steps_done(monkeypatch)
    train(replace(begin(), work=build.work, content=build.content), **ONE, start="champion")

    assert steps[0] == 1
    assert files(build) == files(plain)
