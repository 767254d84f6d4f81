from __future__ import annotations

import sys
from pathlib import Path

import pytest

from assets.errors import ConfigurationError
from assets.store.packages import package_path


def test_a_path_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "some_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "data" / "m.csv").touch()
    monkeypatch.syspath_prepend(package.parent)
    assert package_path("package://some_package/data", "field") == package / "data"
    assert package_path("package://some_package/data/m.csv", "field") == package / "data" / "m.csv"
    assert "some_package" not in sys.modules
    with pytest.raises(
        ConfigurationError, match=r"field: .*has no 'data/n.csv' \(there it has: m.csv\)\n  fix: correct"
    ):
        package_path("package://some_package/data/n.csv", "field")


@pytest.mark.parametrize("url", ["package://", "package://name", "package://not-a.name/x", "package:///x"])
def test_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not of the form package://NAME/path"):
        package_path(url, "field")


@pytest.mark.parametrize("name", ["not_installed_here", "sys"])
def test_a_package_that_is_not_installed_is_named_with_the_fix(name: str) -> None:
    fix = f"no package '{name}' is installed\n  fix: pip install {name.replace('_', '-')} "
    with pytest.raises(ConfigurationError, match=fix):
        package_path(f"package://{name}/x", "field")
