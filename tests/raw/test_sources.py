from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from assets.config.pipeline import ClassificationTask, Pipeline, PretrainedModel, Source
from assets.errors import ChangingError, ConfigurationError, DataError
from assets.raw.sources import observe
from assets.store.digests import digest_file, digest_json
from assets.store.step import FileIndex, Observation


class Index:
    def sha256(self, path: Path, *, strictly: bool = False) -> str:
        return digest_file(path)

    def sha256_at(self, url: str, facts: list[int | str], digest: Callable[[], str]) -> str:
        return digest()


class Unreadable(Index):
    def sha256(self, path: Path, *, strictly: bool = False) -> str:
        raise PermissionError(13, "Permission denied", str(path))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / "pipelines").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (project / "data").mkdir()
    monkeypatch.chdir(project)
    return project


def look(*files: str, index: FileIndex | None = None, mode: Literal["mirror", "append"] = "mirror") -> Observation:
    config = Pipeline(
        task=ClassificationTask(labels=("a", "b")),
        source=Source(files=files, mode=mode),
        base_model=PretrainedModel(name="owner/name"),
    )
    return observe(config, index or Index())["source"]


def test_patterns_are_relative_to_the_project_and_ordered_by_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (root / "data" / name).write_text(name)
    monkeypatch.chdir(root / "data")
    seen = look("data/*.csv")
    assert [file.name for file in seen.files] == ["data/a.csv", "data/b.csv"]
    assert [Path(file.path).read_text() for file in seen.files] == ["a.csv", "b.csv"]
    assert [file.size for file in seen.files] == [5, 5]
    assert (seen.kind, seen.location) == ("source", "data/*.csv")
    assert seen.digest == digest_json([[file.name, digest_file(Path(file.path))] for file in seen.files])


def test_a_file_named_twice_is_one_file_whatever_the_order(root: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (root / "data" / name).write_text(name)
    once = look("data/*.csv")
    twice = look("data/b.csv", f"{root}/data/a.csv", "./data/a.csv", "data/**/*.csv")
    assert twice.files == once.files
    assert twice.digest == once.digest


def test_digest_changes_with_bytes_and_names_only(root: Path) -> None:
    path = root / "data" / "a.csv"
    path.write_text("one")
    before = look("data/*.csv").digest
    os.utime(path, (1, 1))
    assert look("data/*.csv").digest == before
    path.write_text("two")
    assert look("data/*.csv").digest != before
    path.write_text("one")
    path.rename(path.with_name("b.csv"))
    assert look("data/*.csv").digest != before


def test_a_file_whose_name_looks_like_a_pattern(root: Path) -> None:
    (root / "data" / "a[1].csv").write_text("x")
    assert [file.name for file in look("data/a[1].csv").files] == ["data/a[1].csv"]


def test_a_file_outside_the_project_keeps_its_path(root: Path) -> None:
    outside = root.parent / "outside.csv"
    outside.write_text("x")
    assert [file.name for file in look("../outside.csv").files] == [outside.as_posix()]


def test_file_of_a_package_that_is_not_imported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = root / "somewhere" / "tiny_messages"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "m.csv").write_text("text,label\n")
    monkeypatch.syspath_prepend(package.parent)
    seen = look("package://tiny_messages/data/m.csv")
    assert [file.name for file in seen.files] == ["package://tiny_messages/data/m.csv"]
    assert Path(seen.files[0].path) == package / "data" / "m.csv"
    assert "tiny_messages" not in sys.modules
    with pytest.raises(ConfigurationError, match=r"has no 'data/n\.csv' \(there it has: m\.csv\)"):
        look("package://tiny_messages/data/n.csv")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "package://no_such_package/a.csv",
            r"no package 'no_such_package' is installed\n  fix: pip install no-such-package ",
        ),
        ("package://a.b/c.csv", "not of the form package://NAME/path"),
        ("package://json", "not of the form package://NAME/path"),
        ("data/*.csv", r"source\.files: 'data/\*\.csv' matches no file \(looked in .*project\)\n  fix: "),
        ("data/gone.csv", r"'data/gone\.csv' does not exist"),
        ("data", r"'data' is a folder\n  fix: name the files in it, for instance data/\*\.csv"),
    ],
)
def test_what_is_not_there_is_named(root: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        look(entry)


def test_a_pattern_passes_over_folders_but_not_over_broken_links(root: Path) -> None:
    (root / "data" / "folder.csv").mkdir()
    with pytest.raises(ConfigurationError, match="matches no file"):
        look("data/*.csv")
    (root / "data" / "link.csv").symlink_to(root / "gone.csv")
    with pytest.raises(DataError, match=r"data/link\.csv: cannot be read: No such file"):
        look("data/*.csv")


def test_a_file_that_goes_away_under_the_look_may_be_looked_at_again(root: Path) -> None:
    path = root / "data" / "a.csv"
    path.write_text("x")

    class Renaming(Index):
        def sha256(self, path: Path, *, strictly: bool = False) -> str:
            path.rename(path.with_suffix(".old"))
            return super().sha256(path)

    with pytest.raises(
        ChangingError, match=r"data/a\.csv: the file went away while it was looked at\n  fix: look again"
    ):
        look("data/*.csv", index=Renaming())


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_changes_under_the_look_may_be_looked_at_again(root: Path, replaced: bool) -> None:
    path = root / "data" / "a.csv"
    path.write_text("x")

    class Writing(Index):
        def sha256(self, path: Path, *, strictly: bool = False) -> str:
            found = super().sha256(path)
            if replaced:
                status = path.stat()
                other = path.with_name("other")
                other.write_text("y")
                os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
                other.replace(path)
            else:
                with path.open("a") as file:
                    file.write("y")
            return found

    with pytest.raises(ChangingError, match=r"data/a\.csv: the file changed while it was looked at\n  fix: look again"):
        look("data/a.csv", index=Writing())
    assert look("data/a.csv").files[0].sha256 == digest_file(path)


def test_patterns_decide_which_names_are_unfinished(root: Path) -> None:
    for name in ("a.csv", "b.csv.part", "c.csv.tmp", ".d.csv", ".hidden/e.csv"):
        (root / "data" / name).parent.mkdir(exist_ok=True)
        (root / "data" / name).write_text(name)
    assert [file.name for file in look("data/**/*.csv").files] == ["data/a.csv"]
    assert len(look("data/*").files) == 3


def test_an_unreadable_file_is_named(root: Path) -> None:
    (root / "data" / "a.csv").write_text("x")
    config = Pipeline(
        task=ClassificationTask(labels=("a", "b")),
        source=Source(files=("data/a.csv",)),
        base_model=PretrainedModel(name="owner/name"),
    )
    with pytest.raises(DataError, match=r"data/a\.csv: cannot be read: Permission denied\n  fix: make"):
        observe(config, Unreadable())


def test_where_files_may_be_taken_away_none_need_be_there(root: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'memory://freshtune-none/\*\.csv' matches no file\n  fix: correct the URL"
    ):
        look("memory://freshtune-none/*.csv")
    assert look("data/*.csv", "memory://freshtune-none/*.csv", mode="append").files == ()


def test_a_link_is_the_file_that_it_leads_to(root: Path) -> None:
    outside = root.parent / "outside.csv"
    outside.write_text("x")
    (root / "data" / "link.csv").symlink_to(outside)
    (seen,) = look("data/*.csv").files
    assert (seen.name, seen.sha256) == ("data/link.csv", digest_file(outside))


def test_a_link_to_itself_is_named(root: Path) -> None:
    (root / "data" / "loop.csv").symlink_to(root / "data" / "loop.csv")
    with pytest.raises(DataError, match=r"data/loop\.csv: cannot be read: Too many levels of symbolic links"):
        look("data/*.csv")


def test_a_name_that_climbs_out_of_the_project_is_told_as_what_it_is(root: Path) -> None:
    (root.parent / "outside.csv").write_text("x")
    (seen,) = look("data/../../outside.csv").files
    assert seen.name == (root.parent / "outside.csv").as_posix()
