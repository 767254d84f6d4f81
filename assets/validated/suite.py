"""The expectations: those built in, and those of the YAML by Great Expectations' own names."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from assets.errors import ConfigurationError
from assets.validated.engine import ValidationError, gxe, is_about_rows, known_expectations
from assets.validated.language import accepted_values

STRIPPED = "text_stripped"
"""Column of the validated table that holds the text without white space at both ends."""

DAMAGE = r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]"
"""Traces of a wrong encoding: the replacement character, and control characters but for white space."""

_LETTER = "€‚ƒ„†‡ˆ‰ŠŒŽ˜™šœžŸ\u00a0-¿"
"""Second bytes of characters in UTF-8, as Windows-1252 shows it; not quotes and dashes, which may follow a letter."""
_SECOND = f"{_LETTER}‘’“”–—•…‹›"
MOJIBAKE = (
    "[Â-ð](?:"  # One set in front: nearly every text is passed over by it alone.
    rf"(?<=[ÂÃÄÅ])[{_LETTER}]|(?<=[Â-ß])[{_SECOND}][Â-ß][{_SECOND}]|(?<=[à-ï])[{_SECOND}]{{2}}|(?<=â)€|(?<=ð)Ÿ)"
)
"""Typical traces of UTF-8 that was read as Windows-1252 (`Ã©` for é, `â€™` for an apostrophe); seldom in sound text."""
SIMPLER = {DAMAGE: DAMAGE.replace(r"\ufffd", "\ufffd"), MOJIBAKE: f"[Â-ð][{_SECOND}]"}
"""Regular expression → one that Arrow understands and that finds something in every text in which it does."""

NOT_ARGUMENTS = frozenset(
    {"batch_id", "catch_exceptions", "id", "rendered_content", "result_format", "severity", "windows"}
)
"""Fields of an expectation that are not for the YAML; `severity` has its place beside the arguments."""


@dataclass(frozen=True)
class Suites:
    """Expectations by what they are about.

    Attributes:
        rows: each row by itself; a row that fails a critical one goes to quarantine.
        table: the accepted rows as a whole. One with `mostly` below 1 is here: it tolerates single rows.
    """

    rows: list[Any]
    table: list[Any]


def build_suites(
    *,
    labels: list[str],
    text_length: dict[str, int],
    expectations: list[dict[str, Any]],
    language: list[str] | None = None,
) -> Suites:
    """Build every expectation.

    Args:
        labels: labels of the task.
        text_length: `min` and `max` characters of a text without white space at both ends.
        expectations: of the YAML: `type`, `kwargs`, `severity`.
        language: accepted scripts and languages, or None for any.

    Raises:
        ConfigurationError: names every expectation that does not exist or whose arguments are wrong.
    """
    every = [
        gxe.ExpectColumnValuesToNotBeNull(column="text"),
        gxe.ExpectColumnValueLengthsToBeBetween(
            column=STRIPPED, min_value=text_length["min"], max_value=text_length["max"]
        ),
        gxe.ExpectColumnValuesToNotMatchRegex(column="text", regex=DAMAGE),
        gxe.ExpectColumnValuesToNotBeNull(column="label"),
        gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels),
        gxe.ExpectColumnValuesToNotMatchRegex(column="text", regex=MOJIBAKE, severity="warning"),
        *(
            gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values)
            for column, values in accepted_values(language).items()
        ),
    ]
    faults: list[str] = []
    for position, expectation in enumerate(expectations):
        made = _make(expectation)
        if isinstance(made, list):
            faults += [f"validation.expectations[{position}] {expectation['type']}: {fault}" for fault in made]
        else:
            every.append(made)
    if faults:
        raise ConfigurationError(
            "\n  ".join(["wrong expectations", *faults]),
            where="validation.expectations",
            fix="correct them; all are described at https://greatexpectations.io/expectations",
        )
    return Suites(
        rows=[expectation for expectation in every if is_about_rows(expectation)],
        table=[expectation for expectation in every if not is_about_rows(expectation)],
    )


def _make(expectation: dict[str, Any]) -> Any | list[str]:
    """Make one expectation, or say everything that is wrong with it."""
    known = known_expectations()
    kind = known.get(expectation["type"])
    if kind is None:
        close = difflib.get_close_matches(expectation["type"], known, n=3)
        return [f"no such expectation; {'close ones: ' + ', '.join(close) if close else f'there are {len(known)}'}"]
    accepted = sorted(set(kind.__fields__) - NOT_ARGUMENTS)
    unknown = sorted(set(expectation["kwargs"]) - set(accepted))
    if unknown:
        return [f"{name!r} is no argument of it; accepted: {', '.join(accepted)}" for name in unknown]
    try:
        return kind(**expectation["kwargs"], severity=expectation["severity"])
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, fault['loc'])).replace('__root__', 'arguments')}: {fault['msg']}"
            for fault in error.errors()
        ]
