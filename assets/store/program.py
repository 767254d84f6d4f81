"""Runs a step's function in a process of its own: `python -m PROGRAM SPEC.json`, by the chain or by hand.

The process that started it publishes; the program only fills two folders. It refuses to run code other than the one
that its spec names, and stops when the process that started it is gone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets import errors
from assets.errors import ConfigurationError, FreshtuneError, StoreError, explained
from assets.progress import Progress, Sink, discard, file_sink
from assets.store.code import code_digest, code_pieces
from assets.store.step import Build, Measurements, Observation, ObservedFile, Step, load

if TYPE_CHECKING:
    from assets.store.parts import Parts
    from assets.store.store import Store

PARENT = "FRESHTUNE_PARENT"
"""Environment variable with the process id that the program must not outlive; unset when a person runs it."""

RANK = "RANK"
"""Environment variable that `torchrun` sets: which of several processes of one program this is, counted from 0."""

STOP = "stop"
"""File in the work folder that asks a program to save what it has done and end. The step's function looks for it where
it can do so, and nowhere else: a signal could come when the function is done and its result not yet written."""

THREADS = "OMP_NUM_THREADS"
"""Environment variable with the number of threads that a program computes with."""

Launcher = Callable[[Sequence[str], Mapping[str, str]], None]
"""Runs a command with further environment variables and waits for it; how it ended is read from the result file."""

Together = Callable[[Mapping[str, Any], Sequence[str]], bool]
"""From a spec and the program's own command: runs that command as several processes and waits for them, or returns
False where one process is to do it. They leave their result where the spec says; what went wrong is raised."""


PATIENCE = 30
"""Seconds that a program has to save what it has done when it is told to stop."""


def cores() -> int:
    """The cores that this process may use: by its affinity, and in a container by its quota."""
    from joblib import cpu_count

    return int(cpu_count())


def threads_each(count: int) -> str:
    """Value of `THREADS` for each of so many programs: all of them together have as many threads as one has alone.

    Raises:
        ConfigurationError: the environment has a value that is no number.
    """
    # OpenMP takes a list too, one number for each level; here there is one level.
    given = os.environ.get(THREADS, "").partition(",")[0].strip()
    if given and not given.isdecimal():
        raise ConfigurationError(
            f"{given!r} is no number of threads (accepted: 1 or more)",
            where=THREADS,
            fix="set it to a number, or unset it",
        )
    return str(max(1, (int(given) if given else cores()) // count))


def start_program(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Launcher that starts a plain child process, and lets it save what it has done when this one is stopped."""
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            process.wait()
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            raise


def run_program(
    step: Step,
    build: Build,
    arguments: Mapping[str, Any],
    roots: Sequence[str],
    launcher: Launcher,
    store: Store | None = None,
) -> Measurements:
    """Run a step's function in a process of its own and return its measurements.

    Args:
        step: the step.
        build: what its function is given.
        arguments: its further arguments.
        roots: where its code begins.
        launcher: starts the program.
        store: where the function's parts are built and found; None: it is given none.

    Raises:
        FreshtuneError: what the function raised.
        StoreError: if the process ended without a result.
    """
    assert step.program is not None
    spec = {
        "function": step.function,
        "arguments": dict(arguments),
        "inputs": {name: str(path) for name, path in build.inputs.items()},
        "externals": {name: dataclasses.asdict(seen) for name, seen in build.externals.items()},
        "stored": _stored(build),
        "content": str(build.content),
        "trace": str(build.trace),
        "work": str(build.work),
        "step": step.name,
        "pipeline": build.pipeline,
        "roots": list(roots),
        "code": code_digest(code_pieces(roots)),
        "store": None if store is None else {"url": store.url, "cache": str(store.cache)},
    }
    path, progress, result = (build.work / name for name in ("spec.json", "progress.jsonl", "result.json"))
    for stale in (progress, result, build.work / STOP):
        stale.unlink(missing_ok=True)
    text = json.dumps(spec, indent=1, sort_keys=True)
    path.write_text(text, encoding="utf-8")
    with _followed(progress, build.progress.sink):
        launcher([sys.executable, "-m", step.program, str(path)], {PARENT: str(os.getpid())})
    if not result.exists():
        raise StoreError(
            f"the program of step {step.name} ended without a result (it was killed, or memory or disk ran out)",
            where=build.pipeline,
            fix=f"run again; to see it fail by hand: python -m {step.program} {path} --output /tmp/try",
        )
    found = json.loads(result.read_text(encoding="utf-8"))
    if "error" in found:
        raise revived(found["error"])
    (build.trace / "spec.json").write_text(text, encoding="utf-8")
    measurements: Measurements = found["measurements"]
    return measurements


def _stored(build: Build) -> dict[str, str]:
    """Folder of each object that was observed outside of the inputs."""
    digests = [digest for seen in build.externals.values() for digest in seen.objects]
    assert build.stored is not None or not digests
    return {digest: str(build.stored(digest)) for digest in digests} if build.stored is not None else {}


def revived(error: Mapping[str, str]) -> FreshtuneError:
    """The error that a result file tells of."""
    kind = getattr(errors, error["type"], StoreError)
    found: FreshtuneError = kind(error["what"], where=error["where"], fix=error["fix"])
    return found


@contextmanager
def _followed(path: Path, sink: Sink) -> Iterator[None]:
    """Hand on the events that another process appends to a file, as they come."""
    done = threading.Event()

    def follow() -> None:
        position = 0
        while True:
            last = done.wait(0.1)
            if path.exists():
                with path.open("rb") as file:
                    file.seek(position)
                    data = file.read()
                # A line that is still being written is read next time.
                whole = data.rfind(b"\n") + 1
                for line in data[:whole].splitlines():
                    sink(json.loads(line))
                position += whole
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def result_file(work: Path, rank: int) -> Path:
    """Where a process says what came of it; that of the first is the program's."""
    return work / ("result.json" if rank == 0 else f"result-{rank}.json")


def main(together: Together | None = None) -> int:
    """Run the function that a spec names; the program of every step that has one.

    Args:
        together: for a program that may be several processes: starts them.

    Returns:
        Exit code: 0 done, 1 the function failed, 2 the spec is not for this code.
    """
    parser = argparse.ArgumentParser(description="Run one step from the spec that the chain wrote for it.")
    parser.add_argument("spec", type=Path, help="JSON file; a copy is kept in the trace of every result")
    parser.add_argument("--output", type=Path, help="folder for the result, when run by hand")
    given = parser.parse_args()
    spec = json.loads(given.spec.read_text(encoding="utf-8"))
    if given.output is not None:
        # By hand nothing is written elsewhere, so there are no parts.
        spec |= {part: str(given.output / part) for part in ("content", "trace", "work")} | {"store": None}
        for part in ("content", "trace", "work"):
            Path(spec[part]).mkdir(parents=True, exist_ok=True)
    by_hand, rank = PARENT not in os.environ, int(os.environ.get(RANK, "0"))
    _stop_with_parent()
    path = result_file(Path(spec["work"]), rank)
    with _pipes():
        if RANK not in os.environ and together is not None:
            try:
                if together(spec, [sys.executable, *sys.orig_argv[1:]]):
                    return 0 if path.exists() else 1
            except FreshtuneError as error:
                return _leave(path, _said(error), 1, by_hand)
        # What one of several processes does is told by the first.
        result, code = _run(spec, discard if rank else file_sink(path.with_name("progress.jsonl")))
    return _leave(path, result, code, by_hand)


def _leave(path: Path, result: Mapping[str, Any], code: int, say: bool) -> int:
    """Write down what came of it; returns the exit code."""
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.replace(path)
    if "error" in result and say:
        sys.stderr.write(f"{result['error']['where']}: {result['error']['what']}\n  fix: {result['error']['fix']}\n")
    return code


def _run(spec: Mapping[str, Any], sink: Sink) -> tuple[dict[str, Any], int]:
    if code_digest(code_pieces(spec["roots"])) != spec["code"]:
        what = "the code of this program is not the code that its spec names; its result would be recorded wrongly"
        error = {"type": "StoreError", "what": what, "where": spec["step"], "fix": "run the pipeline again"}
        return {"error": error}, 2
    progress = Progress(spec["step"], sink)
    build = Build(
        inputs={name: Path(path) for name, path in spec["inputs"].items()},
        externals={
            name: Observation(**{**seen, "files": tuple(ObservedFile(**file) for file in seen["files"])})
            for name, seen in spec["externals"].items()
        },
        content=Path(spec["content"]),
        trace=Path(spec["trace"]),
        work=Path(spec["work"]),
        progress=progress,
        pipeline=spec["pipeline"],
        part=_parts(spec, progress),
        stored=lambda digest: Path(spec["stored"][digest]),
    )
    try:
        measurements = load(spec["function"])(build, **spec["arguments"])
    except FreshtuneError as error:
        return _said(error), 1
    except OSError as error:
        told = explained(error, build.content)
        if told is None:
            raise
        return _said(told), 1
    return {"measurements": measurements}, 0


def _parts(spec: Mapping[str, Any], progress: Progress) -> Parts | None:
    """Parts of what the program makes, in the store that its spec names; they outlive it if it is killed."""
    if spec["store"] is None:
        return None
    from assets.store.parts import Parts
    from assets.store.store import Store

    store = Store(spec["store"]["url"], Path(spec["store"]["cache"]))
    return Parts(store, Path(spec["work"]).parent, progress, spec["pipeline"])


def _said(error: FreshtuneError) -> dict[str, Any]:
    said = {"type": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}
    return {"error": said}


def _stop_with_parent() -> None:
    """Stop at once when the process that waits for the result is gone."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    # Ctrl-C reaches the whole process group: the parent says what happened, this one just goes.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _pipes() -> Any:
    """Dagster's side of the conversation, where Dagster started the program."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        return nullcontext()
    from dagster_pipes import open_dagster_pipes

    return open_dagster_pipes()
