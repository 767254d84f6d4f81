"""When a pipeline runs without being asked, and when its model is overdue."""

from __future__ import annotations

import re
import zoneinfo
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from assets.config.section import Section


def _known_timezone(value: str) -> str:
    # Read only where a schedule is declared; tzdata may be missing on a bare machine, where UTC still works.
    if value != "UTC" and value not in zoneinfo.available_timezones():
        raise ValueError(f"{value!r} is no time zone; for instance Europe/Berlin, America/New_York, UTC")
    return value


_ISO_DURATION = r"^P(?!$)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?$"
"""ISO 8601 without years and months, which are not equally long."""


def _known_duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    seconds = isinstance(value, int) and not isinstance(value, bool)
    if not seconds and not (isinstance(value, str) and re.fullmatch(_ISO_DURATION, value)):
        raise ValueError(f"{value!r} is no duration; ISO 8601, for instance PT6H or P2D, or whole seconds")
    return value


def _more_than_nothing(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration is more than nothing")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_known_duration),
    AfterValidator(_more_than_nothing),
    WithJsonSchema(
        {
            "format": "duration",
            "anyOf": [{"type": "string", "pattern": _ISO_DURATION}, {"type": "integer", "minimum": 1}],
        }
    ),
]


class Schedule(Section):
    """When to run without being asked."""

    cron: Annotated[str, Field(pattern=r"^(\S+\s+){4}\S+$|^@(hourly|daily|weekly|monthly|yearly)$")]
    """Five-field cron expression, for instance `0 3 * * *`."""
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    """IANA name of the time zone that the expression means."""


class Sensor(Section):
    """Watches the source and starts a run when labelled data change."""

    minimum_interval_seconds: Annotated[int, Field(ge=1)] = 60
    """Least time between two looks, in seconds."""
    min_new_rows: Annotated[int, Field(ge=1)] | None = None
    """Fewest rows that the model was not trained on before another is trained; until then new rows are only taken in,
    up to the splits. null: every change is trained on."""
    max_wait: Duration | None = None
    """Longest that such rows wait for more of them, as ISO 8601 (`PT6H`, `P2D`) or in seconds; null: for ever."""

    @model_validator(mode="after")
    def _something_to_wait_for(self) -> Self:
        if self.max_wait is not None and self.min_new_rows is None:
            raise ValueError(
                "max_wait says how long rows wait for min_new_rows, which is not set; "
                "fix: set it, or leave max_wait out"
            )
        return self


class Freshness(Section):
    """How long ago the model was last found to be what the source and the configuration make of it."""

    fail_after: Duration
    """Longer ago than this, Dagster shows the model as overdue; ISO 8601 (`P2D`) or seconds, at least one minute."""
    warn_after: Duration | None = None
    """Longer ago than this, Dagster warns; ISO 8601 or seconds, at least one minute, less than `fail_after`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        # Dagster looks every half minute and takes nothing shorter than a minute.
        for name, value in (("fail_after", self.fail_after), ("warn_after", self.warn_after)):
            if value is not None and value < timedelta(minutes=1):
                raise ValueError(f"{name} {value} is less than a minute")
        if self.warn_after is not None and self.warn_after >= self.fail_after:
            raise ValueError(f"warn_after {self.warn_after} is not less than fail_after {self.fail_after}")
        return self
