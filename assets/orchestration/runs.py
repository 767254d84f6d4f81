"""Runs of Dagster that were asked for: whether one is under way, whether its process is gone, how it ended and why."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import psutil
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.storage.dagster_run import FINISHED_STATUSES, RunRecord
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    HIDDEN_TAG_PREFIX,
    MAX_RETRIES_TAG,
    RUN_KEY_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
)

PROCESS_TAG = f"{HIDDEN_TAG_PREFIX}freshtune/process"
"""Machine, process and run, so that the death of the process can be told, and a run that copies the tag from it; the
UI does not show it."""
MAY_PASS = "may_pass"  # noqa: S105 - the name of a field
"""Metadata of the failure of a step: whether the same run may succeed later although nothing changed."""
RELAUNCH_SECONDS = 120.0
"""How long Dagster's daemon may take to launch a failed run again; after that nobody counts on it."""
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Ended:
    """A run that is over.

    Attributes:
        run_id: Dagster's.
        succeeded: whether it did all that it was asked for, or a later run of the job did.
        why: what failed, for people; "" if it succeeded.
        may_pass: whether the same may succeed later although nothing changed.
        time: when it ended, in seconds since 1970.
    """

    run_id: str
    succeeded: bool
    why: str
    may_pass: bool
    time: float


def asked_for(instance: dg.DagsterInstance, sensor: str, run_key: str, job_name: str) -> Ended | None:
    """How the run that a sensor asked for by a key ended; of one that Dagster launched again, the latest.

    Returns:
        None if there is no such run.
    """
    tags = {SENSOR_NAME_TAG: sensor, RUN_KEY_TAG: run_key}
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1) if run_key else ()
    if not records:
        return None
    [record] = records
    run = record.dagster_run
    ended = record.end_time or record.update_timestamp.timestamp()
    if run.status == dg.DagsterRunStatus.SUCCESS or _succeeded_later(instance, record, job_name):
        return Ended(run.run_id, True, "", True, ended)
    if run.status == dg.DagsterRunStatus.CANCELED:
        return Ended(run.run_id, False, f"run {run.run_id} was stopped", False, ended)
    why, may_pass = _failure(instance, run.run_id)
    return Ended(run.run_id, False, f"run {run.run_id} failed: {why}", may_pass, ended)


def _succeeded_later(instance: dg.DagsterInstance, record: RunRecord, job_name: str) -> bool:
    later = dg.RunsFilter(
        job_name=job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=record.create_timestamp
    )
    return bool(instance.get_run_records(later, limit=1))


def _failure(instance: dg.DagsterInstance, run_id: str) -> tuple[str, bool]:
    """What failed in a run, and whether the same may succeed later."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.get_dagster_event().step_failure_data
        said = data.user_failure_data
        if said is None:
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return " ".join((error.message if error else "for a reason that Dagster does not tell").split()), False
        may_pass = said.metadata.get(MAY_PASS)
        return " ".join((said.description or "").split()), may_pass is not None and bool(may_pass.value)
    return "its process was killed, or did not start", True


def process_of(run_id: str) -> str:
    """Value of `PROCESS_TAG` of a run that this process runs."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()} {run_id}"


def relaunched(instance: dg.DagsterInstance, job_name: str, now: float) -> dg.DagsterRun | None:
    """A failed run of a job that Dagster is about to launch again, or None.

    Args:
        instance: Dagster's.
        job_name: the job's.
        now: the time, in seconds since 1970.
    """
    failed = dg.RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.FAILURE], tags={WILL_RETRY_TAG: "true"})
    for record in instance.get_run_records(failed, limit=1):
        run = record.dagster_run
        ended = record.end_time or record.update_timestamp.timestamp()
        if AUTO_RETRY_RUN_ID_TAG not in run.tags and now - ended < RELAUNCH_SECONDS:
            return run
    return None


def end_orphans(instance: dg.DagsterInstance) -> None:
    """End runs whose process was killed, and free the slots of ended runs: others would wait for them for ever.

    A run that asks to be launched again is failed, so that Dagster does; any other one is cancelled.
    """
    said = "The process that ran it was killed."
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY)):
        run = record.dagster_run
        if not _orphaned(instance, run):
            continue
        if MAX_RETRIES_TAG in run.tags:
            instance.report_run_failed(run, said)
        else:
            instance.report_run_canceled(run, said)
    held = list(instance.event_log_storage.get_concurrency_run_ids())
    for run in instance.get_runs(dg.RunsFilter(run_ids=held, statuses=FINISHED_STATUSES)) if held else ():
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _orphaned(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process of a run is known to be gone."""
    host, pid, started, run_id = (run.tags.get(PROCESS_TAG, "") + "    ").split(" ")[:4]
    if run_id == run.run_id:
        return host == socket.gethostname() and not _alive(int(pid), float(started))
    # Whoever launches a run as a process of this machine is told when it dies, but for the case that it dies too.
    if run.status != dg.DagsterRunStatus.STARTED or not isinstance(instance.run_launcher, DefaultRunLauncher):
        return False
    *_, last = (None, *_processes(instance, run.run_id))
    return last is not None and not _alive(*last)


def _processes(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """Processes that a run said it runs in, and when it said so."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if pid is not None:
            yield int(str(pid.value)), entry.timestamp


def _alive(pid: int, started: float) -> bool:
    """Whether a process is there, and is not a later one with the same number.

    Args:
        pid: its number.
        started: when it began or was there, in seconds since 1970.
    """
    try:
        process = psutil.Process(pid)
        # The clock of the machine moves a little, and so does what it says of the past.
        return process.create_time() <= started + 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
