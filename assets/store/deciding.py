"""The step that decides: it appends to the promotion log, and what stands outside is brought in line with that."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.progress import Progress
from assets.store.build import by, publish
from assets.store.ingredients import Made
from assets.store.plan import Reason
from assets.store.step import LogEntry, Measurements, Outcome, Settlement, Step, load
from assets.store.store import Record

if TYPE_CHECKING:
    from assets.store.runner import Runner, StepResult


def decide(runner: Runner, step: Step, made: Made, standing: Record | None, reasons: tuple[Reason, ...]) -> Record:
    """Append a decision to the promotion log, then bring what stands outside in line with it."""
    only_settle = standing is not None and standing.key == made.key and reasons == unsettled(runner)
    if not only_settle:
        waiting = Progress(step.name, runner.sink).message
        uses = sorted(made.ingredients["inputs"].values())
        with runner.store.lease(f"decide-{runner.environment}-{runner.name}", waiting, uses):
            decided = runner.stands_for(step)
            # Another run decided the same while this one waited for the lease.
            if decided is None or decided == standing or decided.key != made.key:
                decided = _append_decision(runner, step, made)
            standing = decided
    settle(runner)
    assert standing is not None
    return standing


def settle(runner: Runner, *, overwrite: bool = False) -> dict[str, Any]:
    """Bring what stands outside in line with the promotion log; returns what stands there.

    Args:
        runner: the pipeline and its environment.
        overwrite: set back what somebody changed there by hand.

    Raises:
        TransientError: if the registry cannot be reached.
    """
    step = next(step for step in runner.chain if step.decides)
    assert step.settle is not None
    progress = Progress(step.name, runner.sink)
    # Two at once could each register the same model, or the one that read the log first undo the other's entry.
    with runner.store.lease(f"settle-{runner.environment}-{runner.name}", progress.message, []):
        entries = runner.store.log(runner.environment, runner.name)
        settlement = Settlement(
            pipeline=runner.name,
            environment=runner.environment,
            entries=entries,
            content=partial(runner.store.open, "objects"),
            trace=partial(runner.store.open, "traces"),
            tracking_uri=runner.home.tracking_uri,
            artifact_root=runner.home.artifact_root,
            progress=progress,
            record=runner.store.record,
            settled=runner.store.settled(runner.environment, runner.name) or {},
            overwrite=overwrite,
            settings=_settles_by(runner, step),
        )
        outside: dict[str, Any] = load(step.settle)(settlement)
        runner.store.settle(runner.environment, runner.name, len(entries) - 1, outside)
    return outside


def unsettled(runner: Runner) -> tuple[Reason, ...]:
    """Why what stands outside is behind the promotion log; nothing if it is not."""
    entries = runner.store.log(runner.environment, runner.name)
    settled = runner.store.settled(runner.environment, runner.name)
    if not entries:
        return (Reason("missing", "promotion log"),)
    if settled is None or settled["number"] < entries[-1].number:
        return (Reason("missing", f"entry {entries[-1].number} of the promotion log in the registry"),)
    if settled.get("undelivered"):
        return (Reason("missing", f"news of entry {settled['undelivered']['number']} of the promotion log"),)
    return ()


def _append_decision(runner: Runner, step: Step, made: Made) -> Record:
    while True:
        entries = runner.store.log(runner.environment, runner.name)
        after = runner.store.record(made.key)
        stand = {each.name: found for each in _before_deciding(runner) if (found := runner.standing(each.name))}
        call = partial(_call_deciding, runner, step, made, entries, stand)
        record = publish(runner.store, made, call, work=runner.work(made.key), after=after)
        decision = json.loads((runner.store.open("objects", record.content) / "decision.json").read_bytes())
        before = entries[-1].fields["champion"] if entries else None
        challenger = decision["challenger"]
        fields = {
            "kind": "decision",
            "key": made.key,
            "release": {"content": record.content, "trace": record.trace},
            "decision": decision["decision"],
            "challenger": challenger,
            "champion": challenger if decision["decision"] == "promoted" else before,
            "inputs": {**_stood(runner), **{name: made.ingredients["inputs"][name] for name in step.inputs}},
            # A list: they are in the order of the chain, and a JSON object would be sorted.
            "keys": [[name, found.record.key] for name, found in stand.items()],
            "checks": {name: _told(found.outcomes) for name, found in stand.items() if found.outcomes},
            "run": runner.run,
            "by": by(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "why": "; ".join(each["message"] for each in decision["comparisons"] if not each["passed"]),
        }
        # Another run decided meanwhile: the champion may be another one, so decide again.
        if runner.store.append(runner.environment, runner.name, LogEntry(len(entries), fields)):
            return record


def _call_deciding(
    runner: Runner, step: Step, made: Made, entries: tuple[LogEntry, ...], stand: Mapping[str, StepResult], folder: Path
) -> Measurements:
    build = runner.context(step, made, folder)
    build = dataclasses.replace(
        build,
        variant=partial(_variant, runner, build.digests),
        stored=partial(runner.store.open, "objects"),
        log=entries,
        measurements={name: found.measurements for name, found in stand.items()},
        ingredients={name: found.record.ingredients for name, found in stand.items()},
        settings=runner.config.model_dump(mode="json", exclude_none=True),
    )
    return load(step.function)(build, **runner.arguments(step))  # type: ignore[no-any-return]


def _variant(runner: Runner, digests: Mapping[str, str], name: str, replaced: Mapping[str, str]) -> Path:
    """The result of another step, with some inputs replaced by objects of the store."""
    step = runner.step(name)
    known = {**_stood(runner), **digests, **replaced}
    record, _ = runner.get_or_build(step, runner.made(step, {each: known[each] for each in step.inputs}))
    return runner.store.open("objects", record.content)


def _stood(runner: Runner) -> dict[str, str]:
    records = {step.name: runner.stands_for(step) for step in _before_deciding(runner)}
    return {name: record.content for name, record in records.items() if record is not None}


def _before_deciding(runner: Runner) -> list[Step]:
    """The steps that come before the one that decides; what comes after it is no part of a decision."""
    return list(takewhile(lambda step: not step.decides, runner.chain))


def _settles_by(runner: Runner, step: Step) -> dict[str, Any]:
    if runner.sample is not None:
        # Nobody outside is told of a sample's model.
        return {}
    return runner.arguments(dataclasses.replace(step, configuration=step.settles_by))


def _told(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    return {name: {"passed": found.passed, "message": found.message} for name, found in outcomes.items()}
