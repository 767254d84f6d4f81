"""What the new-data sensor decides, from what it sees, what it remembers, and what became of the run that it asked for.

Nothing here looks at anything: every function depends on its arguments alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime

from assets.orchestration.runs import Ended
from assets.store.plan import Plan

TRIES = 5
"""How often a run that failed for a cause that may pass is asked for again."""
WAIT_SECONDS = 60.0
"""Wait before the first of these; four times as long before each further one, so that the last comes after 4 hours."""
SETTLE_SECONDS = 120.0
"""How long a file that is empty, or was just written, holds up the others; then it is taken as it is."""
KEY_DIGITS = 16


@dataclass(frozen=True)
class Waiting:
    """Rows that were taken in and not trained on.

    Attributes:
        rows: content digest of the splits that stand now.
        trained: content digest of the splits that the model was made from, or "" where there is no model.
        new: how many rows of the one the other does not have.
        begun: when the training began, in seconds since 1970; 0 where there is no model.
    """

    rows: str
    trained: str
    new: int
    begun: float


@dataclass(frozen=True)
class Look:
    """One look at a pipeline.

    Attributes:
        step: the step that reads the source.
        digest: of the source as it is now.
        known: whether that step stands for this source already.
        unsettled: why the source may be about to change, or "".
        settings: digest of what else a run depends on: configuration, code, libraries, other files.
        plan: what a run would do.
        cheap: steps before the training, which take rows in.
        waiting: rows that were not trained on; None where the pipeline does not let them wait.
    """

    step: str
    digest: str
    known: bool
    unsettled: str
    settings: str
    plan: Plan
    cheap: tuple[str, ...]
    waiting: Waiting | None


@dataclass(frozen=True)
class Memory:
    """What the sensor keeps from tick to tick, in its cursor.

    Attributes:
        digest: of the source when a run was last asked for.
        number: of requests so far. It is part of the run key, so that data that go back to what they once were are run
            again, and one change is run once.
        key: run key of the last request.
        whole: whether it asked for all steps, not only for those that take rows in.
        rows: content digest of the splits when all steps were last asked for.
        settings: digest of what else it depended on.
        asked: when it was made, in seconds since 1970.
        tries: how often it was repeated after a failure.
        trained: content digest of the splits that the model was made from, when that was last looked at.
        since: when the oldest row that was not trained on was first seen, in seconds since 1970.
        unsettled: since when files hold up others, in seconds since 1970.
    """

    digest: str = ""
    number: int = 0
    key: str = ""
    whole: bool = True
    rows: str = ""
    settings: str = ""
    asked: float = 0.0
    tries: int = 0
    trained: str = ""
    since: float | None = None
    unsettled: float | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Memory:
        """From the sensor's cursor."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in json.loads(cursor or "{}").items() if name in known})

    def written(self) -> str:
        """As the sensor's cursor."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Decision:
    """What a tick comes to.

    Attributes:
        memory: what to remember.
        steps: which steps to ask for; none: nothing is asked for.
        reason: why nothing is asked for.
    """

    memory: Memory
    steps: tuple[str, ...] = ()
    reason: str = ""


def decide(
    seen: Look, memory: Memory, last: Ended | None, *, min_new_rows: int, max_wait: float | None, now: float
) -> Decision:
    """Decide what to ask for.

    Args:
        seen: what the pipeline looks like.
        memory: what was remembered.
        last: how the run that was last asked for ended, or None if there is none. No run of the pipeline is under way.
        min_new_rows: fewest rows that a training is worth, where the pipeline lets them wait.
        max_wait: how long they wait at most, in seconds, or None.
        now: the time, in seconds since 1970.
    """
    memory = _clock(memory, seen.waiting, now)
    if not seen.known:
        return _arrived(seen, memory, last, now)
    memory = replace(memory, unsettled=None)
    undone = seen.plan.to_run if memory.whole else _cheap(seen)
    if last is not None and not last.succeeded and undone:
        return _again(seen, memory, last, now)
    if seen.waiting is None:
        return Decision(memory, reason=f"the source is what {seen.step} stands for")
    return _enough(seen, seen.waiting, memory, last, min_new_rows=min_new_rows, max_wait=max_wait, now=now)


def _enough(
    seen: Look,
    waiting: Waiting,
    memory: Memory,
    last: Ended | None,
    *,
    min_new_rows: int,
    max_wait: float | None,
    now: float,
) -> Decision:
    """What to do where every row was taken in: train, if enough of them wait, or one has waited for long enough."""
    if not waiting.rows:
        return Decision(
            memory, reason="no rows were taken in yet, although the source is known: a run of all steps does"
        )
    if memory.since is None or not seen.plan.to_run:
        return Decision(memory, reason="the model was trained on the rows that the source has")
    until = None if max_wait is None else memory.since + max_wait
    if waiting.new < min_new_rows and (until is None or now < until):
        said = f"{waiting.new:,} of {min_new_rows:,} new rows; the oldest waits since {_time(memory.since)}"
        return Decision(memory, reason=said if until is None else f"{said}, at most until {_time(until)}")
    if memory.whole and memory.rows == waiting.rows:
        return _again(seen, memory, last, now)
    return _ask(seen, memory, now, whole=True)


def _clock(memory: Memory, waiting: Waiting | None, now: float) -> Memory:
    """Remember since when the oldest row waits that was not trained on."""
    if waiting is None or waiting.rows == waiting.trained:
        return replace(memory, since=None, trained="" if waiting is None else waiting.trained)
    if memory.since is None:
        return replace(memory, since=now, trained=waiting.trained)
    if waiting.trained != memory.trained:
        # What waits now came in after the training had begun.
        return replace(memory, since=max(memory.since, waiting.begun), trained=waiting.trained)
    return memory


def _arrived(seen: Look, memory: Memory, last: Ended | None, now: float) -> Decision:
    """What to do for a source that was not taken in yet."""
    if seen.digest == memory.digest:
        return _again(seen, memory, last, now)
    if seen.unsettled:
        memory = replace(memory, unsettled=now if memory.unsettled is None else memory.unsettled)
        assert memory.unsettled is not None
        if now - memory.unsettled < SETTLE_SECONDS:
            return Decision(memory, reason=seen.unsettled)
    return _ask(seen, memory, now, whole=seen.waiting is None)


def _again(seen: Look, memory: Memory, last: Ended | None, now: float) -> Decision:
    """What to do where a run was asked for and what it was to do is not done."""
    whole = seen.waiting is None or (seen.known and memory.whole)
    if (seen.digest, seen.settings) != (memory.digest, memory.settings):
        return _ask(seen, memory, now, whole=whole)
    if last is None:
        said, may_pass, ended = (
            f"a run was asked for source {seen.digest[:12]} already and is not there",
            True,
            memory.asked,
        )
    elif last.succeeded:
        said, may_pass, ended = f"run {last.run_id} found the source in another state", True, last.time
    else:
        said, may_pass, ended = last.why, last.may_pass, last.time
    until = "until the source, the configuration or the code changes"
    if not may_pass:
        return Decision(memory, reason=f"{said}; nothing is asked for {until}")
    if memory.tries >= TRIES:
        return Decision(memory, reason=f"{said}; it was tried {TRIES} more times, and nothing is asked for {until}")
    due = ended + WAIT_SECONDS * 4**memory.tries
    if now < due:
        return Decision(memory, reason=f"{said}; try {memory.tries + 1} of {TRIES} more is at {_time(due)}")
    return _ask(seen, memory, now, whole=whole, tries=memory.tries + 1)


def _ask(seen: Look, memory: Memory, now: float, *, whole: bool, tries: int = 0) -> Decision:
    number = memory.number + 1
    trains = whole and seen.waiting is not None
    rows = seen.waiting.rows if trains and seen.waiting is not None else ""
    memory = replace(
        memory,
        digest=seen.digest,
        number=number,
        key=f"{(rows or seen.digest)[:KEY_DIGITS]}-{number}",
        whole=whole,
        rows=rows,
        settings=seen.settings,
        asked=now,
        tries=tries,
        unsettled=None,
    )
    return Decision(memory, steps=seen.plan.to_run if whole else _cheap(seen))


def _cheap(seen: Look) -> tuple[str, ...]:
    return tuple(step for step in seen.plan.to_run if step in seen.cheap)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
