"""Texts are tokenised once for each shard, over the whole chain and its training program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assets.progress import Progress
from assets.session import open_runner
from assets.splits.rows import read_side
from assets.splits.sides import SIDES
from assets.store.listing import parse_record, read_files
from assets.store.parts import Parts
from assets.store.runner import Runner
from assets.store.step import Build
from assets.tasks.loading import load_tokenizer
from assets.tasks.tokens import tokens_of
from tests.project import ROWS, Project, in_this_process
from tests.tiny import make_rows

UP_TO_SPLITS = ("raw", "validated", "cleaned", "splits")


@contextmanager
def opened(project: Project) -> Iterator[Runner]:
    with project.entered():
        yield open_runner("tiny", launcher=in_this_process)


def run(project: Project, *steps: str) -> dict[str, str]:
    """What each step stands for afterwards."""
    with opened(project) as runner:
        return {step: runner.run_step(step).record.content for step in steps}


def tokenised(project: Project) -> set[str]:
    """The shards of `cleaned` that have tokens, each as often as it was tokenised."""
    with opened(project) as runner:
        records = [parse_record(name, data) for name, data in read_files(runner.store.storage, "records")]
    return {
        f"{record.ingredients['inputs']['prepared']} {record.key} {record.number} {record.time}"
        for record in records
        if record.ingredients["step"] == "assets.tasks.shard:tokenize"
    }


def test_tokens_are_of_texts_as_cleaning_leaves_them(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    project.declare(cleaning={"mask_pii": ["email"], "unicode": "NFKC"})
    rows = make_rows(ROWS, seed=1)
    project.write("first.csv", [(f"{text}  prize\u00a0prize ada@example.org  home", label) for text, label in rows])
    splits = run(project, *UP_TO_SPLITS)["splits"]
    tokenizer = load_tokenizer(project.folder / "base")

    with opened(project) as runner:
        content, work = runner.store.open("objects", splits), tmp_path / "work"
        parts = Parts(runner.store, work, Progress("model"))
        build = Build({"splits": content}, {}, work, work, work, Progress("model"), part=parts)
        found = tokens_of(build, SIDES, tokenizer, 24)

    assert len(tokenised(project)) == 1
    for side, tokens in zip(SIDES, found, strict=True):
        texts = read_side(content, side)["text"].to_pylist()
        assert all(text.endswith(" prize prize <EMAIL> home") for text in texts)
        assert list(tokens) == tokenizer(texts, truncation=True, max_length=24)["input_ids"]


def test_what_has_tokens_is_not_tokenised_again(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    changed: dict[str, Any] = {"epochs": 1}
    project.declare(training=changed)
    first = run(project, *UP_TO_SPLITS, "model", "evaluation")
    before = tokenised(project)
    assert len(before) == 1

    changed |= {"learning_rate": 1e-3, "seed": 7}
    project.declare(training=changed)
    assert run(project, "model", "evaluation")["model"] != first["model"]
    assert tokenised(project) == before

    project.write("second.csv", make_rows(ROWS + 20, seed=0)[ROWS:])
    run(project, *UP_TO_SPLITS, "model", "evaluation")
    assert before < tokenised(project)
    assert len(tokenised(project)) == 2

    changed |= {"max_tokens": 16}
    project.declare(training=changed)
    run(project, "model")
    assert len(tokenised(project)) == 4
    assert project.faults() == []
