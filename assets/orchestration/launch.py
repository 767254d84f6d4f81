"""Runs steps in this process for the command line, and starts Dagster's UI over the same instance."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.events import RunFailureReason
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster_shared.error import SerializableErrorInfo

from assets.config.home import Home, home, project_root
from assets.config.load import load_pipeline
from assets.orchestration.execution import FORCE_TAG, SAMPLE_TAG, OpenRunner, Watch
from assets.orchestration.metadata import blocking_failure
from assets.orchestration.runs import PROCESS_TAG, end_orphans, process_of
from assets.orchestration.wiring import GPU_POOL, asset_key, pipeline_definitions
from assets.progress import Progress, Sink
from assets.session import open_runner
from assets.store.runner import Runner, StepResult

DEFINITIONS = "assets.orchestration.definitions"
LOCATION = "freshtune"
"""Name of the code location in `workspace.yaml`."""
INSTANCE = files("assets.orchestration") / "dagster.yaml"
NOOP_LOGS = "dagster._core.storage.noop_compute_log_manager"
STOPPED = 130
"""Exit code of a command that was stopped: 128 and the number of SIGINT, as shells have it."""
PROBE_BYTES = 1 << 20
"""About what the events of a run take in Dagster's database."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    Attributes:
        run_id: Dagster's.
        success: whether everything that was selected was done.
        results: what became of each step that was done, in order.
        error: what went wrong, for people, or None.
        exit_code: for the command line: 0, 1 (the work failed), 2 (wrong use or configuration) or 130 (stopped).
    """

    run_id: str
    success: bool
    results: tuple[StepResult, ...]
    error: str | None
    exit_code: int


def materialise(
    name: str, *, steps: Sequence[str], sample: int | None, forced: Collection[str], sink: Sink
) -> RunOutcome:
    """Run steps of a pipeline in this process; the run is in Dagster's UI like any other.

    Args:
        name: the pipeline's.
        steps: which of its steps to run.
        sample: only so many rows, or None for all.
        forced: steps to build even if they are fresh.
        sink: takes progress events, as they come.

    Raises:
        ConfigurationError: if the pipeline's configuration is wrong.
    """
    settings = home()
    opened = partial(open_runner, name, config=load_pipeline(name, project_root()), settings=settings)
    return launch(opened, settings, steps=steps, sample=sample, forced=forced, sink=sink)


def launch(
    open_runner: OpenRunner,
    settings: Home,
    *,
    steps: Sequence[str],
    sample: int | None,
    forced: Collection[str],
    sink: Sink,
) -> RunOutcome:
    """Run steps of the pipeline that a function opens; see `materialise`."""
    watch, runner = Watch(sink), open_runner()
    definitions = pipeline_definitions(open_runner, watch)
    run_id = make_new_run_id()
    tags = {PROCESS_TAG: process_of(run_id)}
    if forced:
        tags[FORCE_TAG] = ",".join(sorted(forced))
    if sample is not None:
        tags[SAMPLE_TAG] = str(sample)
    ops = None if sample is None else [f"{runner.name}_sample__{step}" for step in steps]
    with _restored_signals(), _instance(settings) as instance:
        end_orphans(instance)
        job = definitions.resolve_job_def(f"{runner.name}_{'job' if sample is None else 'sample'}")
        origin = _origin(job.name)
        run = instance.create_run_for_job(
            job_def=job,
            run_id=run_id,
            run_config=QUIET,
            tags={**tags, REPOSITORY_LABEL_TAG: origin.repository_origin.get_label()},
            asset_selection={asset_key(runner, step) for step in steps} if ops is None else None,
            op_selection=ops,
            resolved_op_selection=None if ops is None else set(ops),
            remote_job_origin=origin,
        )
        errors, stopped = _execute(job, run, instance, runner, watch)
    failed = watch.errors[-1].exit_code if watch.errors else 1
    exit_code = STOPPED if stopped else failed if errors else 0
    return RunOutcome(run_id, not errors, tuple(watch.results), "\n".join(errors) or None, exit_code)


def dagster_home(settings: Home) -> Path:
    """The folder of Dagster's instance, made if it is missing."""
    path = settings.dagster / "dagster.yaml"
    if not path.exists():
        settings.dagster.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_bytes(INSTANCE.read_bytes())
        part.replace(path)
    return settings.dagster


def ui_command(port: int) -> tuple[list[str], dict[str, str]]:
    """Command that serves Dagster's UI and daemon on loopback over this project, and its environment.

    Args:
        port: of the UI.
    """
    settings = home()
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(project_root() / "workspace.yaml")]
    environment = {"DAGSTER_HOME": str(dagster_home(settings)), "FRESHTUNE_HOME": str(settings.path)}
    return [*command, "-h", "127.0.0.1", "-p", str(port)], {**os.environ, **environment}


def _probe(folder: Path) -> None:
    """Write to a disk: of one that is full or read-only, SQLite says too little, the operating system says which."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _instance(settings: Home) -> Iterator[dg.DagsterInstance]:
    _probe(dagster_home(settings))
    # Dagster would write standard output and error of each step to files, and so take them from the terminal.
    quiet = {"compute_logs": {"module": NOOP_LOGS, "class": "NoOpComputeLogManager"}}
    reference = InstanceRef.from_dir(str(dagster_home(settings)), overrides=quiet)
    with dg.DagsterInstance.from_ref(reference) as instance:
        yield instance


def _execute(
    job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance, runner: Runner, watch: Watch
) -> tuple[list[str], bool]:
    """Execute a run; what went wrong, for people, and whether it was stopped from outside."""
    errors: list[str] = []
    stopped = False
    try:
        for event in execute_run_iterator(InMemoryJob(job), run, instance):
            if event.is_step_failure:
                errors.append(_said(event, runner, watch))
            elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
                data = event.job_failure_data
                stopped = data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION
                errors = errors or [f"{runner.name}: the run failed: {_root_cause(data.error)}"]
            elif "blocked by limit for pool" in (event.message or ""):
                Progress(_step_name(event), watch.sink).message(_holder(instance))
    except KeyboardInterrupt:
        stopped = True
    if stopped:
        instance.report_run_canceled(run, "Stopped from the keyboard or by a signal.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        errors = ["stopped; what was finished is kept, and the next run goes on from there"]
    return errors, stopped


def _holder(instance: dg.DagsterInstance) -> str:
    runs = sorted(instance.event_log_storage.get_concurrency_info(GPU_POOL).active_run_ids)
    return f"waiting for run {', '.join(runs)}, which holds the accelerator; it can be terminated in the UI"


def _said(event: dg.DagsterEvent, runner: Runner, watch: Watch) -> str:
    """What a failed step says, for people."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    name = _step_name(event)
    for result in watch.results:
        failure = blocking_failure(runner.step(name), result) if result.step == name else None
        if failure is not None:
            return failure
    return f"{runner.name}: step {name} failed: {_root_cause(data.error)}"


def _root_cause(error: SerializableErrorInfo | None) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    return "for a reason that Dagster does not tell" if error is None else error.message.strip()


def _step_name(event: dg.DagsterEvent) -> str:
    return (event.step_key or "").rpartition("__")[2]


def _origin(job_name: str) -> RemoteJobOrigin:
    """Where the UI finds the job of a run, so that the run is listed there and can be launched again."""
    target = LoadableTargetOrigin(module_name=DEFINITIONS)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job_name)


@contextmanager
def _restored_signals() -> Iterator[None]:
    """Let SIGTERM stop a run as the keyboard does, and put the handlers back that Dagster replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
