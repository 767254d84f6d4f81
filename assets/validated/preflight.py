"""What can be wrong with the configured expectations, found before anything runs."""

from __future__ import annotations

from typing import Any

from assets.validated.language import check as language_check


def check(
    *,
    labels: list[str],
    text_length: dict[str, int],
    expectations: list[dict[str, Any]],
    language: list[str] | None,
    columns: dict[str, Any],
) -> None:
    """Refuse expectations that do not exist or whose arguments are wrong; the arguments are those of `validate`.

    Raises:
        ConfigurationError: names every one of them.
    """
    del columns  # whether a column is there is seen when its expectation runs
    language_check(language)
    if expectations:
        # Only here, since Great Expectations takes seconds to import.
        from assets.validated.suite import build_suites

        build_suites(labels=labels, text_length=text_length, expectations=expectations)
