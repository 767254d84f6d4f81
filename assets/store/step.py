"""What a step is: its declaration, and what its function is given."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from assets.progress import Event, Progress

if TYPE_CHECKING:
    from assets.store.parts import Parts
    from assets.store.store import Record

Measurements = dict[str, Any]
"""JSON-able numbers and short texts that a step's function returns; kept in the trace, read by checks and metadata."""


@dataclass(frozen=True)
class ObservedFile:
    """One file outside the store, as it was when it was looked at.

    Attributes:
        name: name that people know it by (relative path or URL); part of the observation's digest.
        path: where its bytes are now (local path or fsspec URL); not part of the digest.
        sha256: hexadecimal digest of its bytes.
        size: bytes.
    """

    name: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Observation:
    """What was seen of an input from outside the store.

    Attributes:
        kind: reason kind when it changes: `source` for labelled data, `input` otherwise.
        location: what was configured, for messages.
        digest: digest of what it is made of; part of the key of the step that reads it.
        files: the files that it consists of, ordered by name; empty where it is not made of local files.
        objects: content digests of the objects of the store that it consists of, those that are whole.
        lost: content digests of those that are missing or damaged.
        values: what it consists of where that is neither: short texts.
    """

    kind: str
    location: str
    digest: str
    files: tuple[ObservedFile, ...] = ()
    objects: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


class FileIndex(Protocol):
    """Digests of files, remembered while size, time and inode stay the same."""

    def sha256(self, path: Path, *, strictly: bool = False) -> str:
        """Hexadecimal SHA-256 of the file's bytes; see `assets.store.index.FileIndex.sha256`."""
        ...

    def sha256_at(self, url: str, facts: list[int | str], digest: Callable[[], str]) -> str:
        """Hexadecimal SHA-256 of a file elsewhere; see `assets.store.index.FileIndex.sha256_at`."""
        ...


@dataclass(frozen=True)
class Check:
    """A judgement about a step's result, made again in every run from the measurements that the step left.

    Attributes:
        name: identifier, `[a-z_]+`.
        description: what it asserts, in one plain sentence.
        judge: from (measurements, pipeline configuration) to an outcome; must not import heavy libraries.
        blocking: whether the steps after it refuse to run when it fails.
    """

    name: str
    description: str
    judge: Callable[[Measurements, Any], Outcome]
    blocking: bool = False

    def stops(self, outcome: Outcome) -> bool:
        """Whether the steps after it refuse to run for what it found."""
        return self.blocking and not outcome.passed and not outcome.warning


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        passed: whether it holds.
        message: one sentence with the numbers.
        values: JSON-able numbers behind it.
        warning: a failure that is only a warning.
    """

    passed: bool
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)
    warning: bool = False


@dataclass(frozen=True)
class LogEntry:
    """One numbered entry of the promotion log of an environment and pipeline.

    Attributes:
        number: 0, 1, 2, …
        fields: JSON object; see `assets/release`.
    """

    number: int
    fields: Mapping[str, Any]


SETTINGS = "settings.json"
"""In the content of a step that tunes another: dotted path → value."""

Promoted = Callable[[Sequence[LogEntry], Mapping[str, str], Measurements | None], Mapping[str, Sequence[str]]]
"""See `Step.promoted`."""


class Part(NamedTuple):
    """A part of a step's result.

    Attributes:
        content: its folder; whoever reads a file of it checks the bytes: see `assets.store.links.checked`.
        digest: its content digest.
        measurements: what its function measured.
    """

    content: Path
    digest: str
    measurements: Measurements


Summary = dict[str, Any]
"""What is kept of a try of a step: JSON-able, by the one who tries."""


class Attempt(Protocol):
    """One try of a step with other settings, as the one who tries sees it."""

    @property
    def enough(self) -> bool:
        """Whether it was stopped because no more needs to be known of it."""
        ...

    def see(self, event: Event) -> bool:
        """Take what the step says of its progress, in any thread; returns whether to stop it."""
        ...

    def summary(self, content: Path | None) -> Summary:
        """What is to be kept of it: of the step's content, or, if it was stopped, of what was seen."""
        ...

    def worth_keeping(self, summary: Summary) -> bool:
        """Whether the step's result is to be kept too, for the step itself may be asked for it."""
        ...


class Try(Protocol):
    """Builds or finds the result of another step with other settings."""

    def __call__(
        self, settings: Mapping[str, Any], attempt: Attempt, *, whole: bool = False, at_once: int = 1
    ) -> Summary:
        """Try the step; may be called in several threads at once.

        Args:
            settings: dotted path → value.
            attempt: told how it goes.
            whole: do not be content with the summary of one that was stopped.
            at_once: how many are tried at the same time; each has its share of the machine's cores.
        """
        ...


@dataclass(frozen=True)
class Build:
    """What a step's function is given.

    Attributes:
        inputs: content folder of each input step, verified; read-only. Traces of inputs are not given: a result must
            depend on content alone.
        externals: what was observed of each external input.
        content: empty folder for what the result is (digested).
        trace: empty folder for what is told about it (times, logs, pictures, row origins).
        work: folder that stays when the process is killed, the same for the same key: checkpoints.
        progress: where to say how far it is.
        pipeline: the pipeline's name, for messages and pictures only.
        part: builds or finds a part of the result that has a key of its own; see `assets.store.parts.Parts`.
        try_step: only for a step that tunes another: see `Try`.
        before: only for a step that remembers: content folder of what it stood for; None as long as everything outside
            that it ever read is there.
        variant: only for a step that decides: builds or finds the result of another step of the chain with some
            inputs replaced: (step, {input step: content digest}) → content folder.
        stored: only for a step that decides or reads the promotion log: content folder of any object, by content
            digest, verified; in a program of those alone that `externals` name.
        log: only for a step that decides: the entries so far, oldest first.
        measurements: only for a step that decides: measurements of every step before it, by step.
        ingredients: only for a step that decides: what the keys of these results are digested from, by step.
        settings: only for a step that decides: the pipeline's configuration as JSON, to be told and not to decide by.
        digests: content digest of each input step, for lineage.
    """

    inputs: Mapping[str, Path]
    externals: Mapping[str, Observation]
    content: Path
    trace: Path
    work: Path
    progress: Progress
    pipeline: str = ""
    part: Parts | None = None
    try_step: Try | None = None
    before: Path | None = None
    variant: Callable[[str, Mapping[str, str]], Path] | None = None
    stored: Callable[[str], Path] | None = None
    log: tuple[LogEntry, ...] = ()
    measurements: Mapping[str, Measurements] = field(default_factory=dict)
    ingredients: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Beginning:
    """What is known when a step begins to be built, for what it chooses to begin with: see `Step.recorded`.

    Attributes:
        inputs: content folder of each input step, verified.
        externals: what was observed of each external input.
        entries: the promotion log, oldest first.
        stored: content folder of any object, by content digest, verified.
        record: from a key to its record, or None.
        before: what was measured when this key was built before, or None.
        work: folder that stays when the process is killed, the same for the same key.
    """

    inputs: Mapping[str, Path]
    externals: Mapping[str, Observation]
    entries: tuple[LogEntry, ...]
    stored: Callable[[str], Path]
    record: Callable[[str], Record | None]
    before: Measurements | None
    work: Path


@dataclass(frozen=True)
class Step:
    """One link of the chain.

    Attributes:
        name: the step's name and its asset's last key part.
        description: what it does, for people; Markdown.
        function: `module:function`; called as `function(build, **arguments)` and returns `Measurements`.
        preflight: `module:function` called with the same arguments before anything runs, to find errors of the
            configuration that reading it does not show.
        inputs: names of the steps whose content it reads.
        after: names of the steps that it comes after although it reads nothing of their content: what they do shows in
            the promotion log.
        wanted: from the configuration to whether the chain has the step; None: always.
        optional: inputs that it reads only if the configuration says so: name → from the configuration to whether.
        configuration: dotted paths of the pipeline's configuration that it reads. A path to a section stands for every
            field of it; the argument's name is the last part of the path. Values that are None are left out of the key.
        externals: from (configuration, file index) to what it reads from outside the store.
        tunes: name of a step that reads this one: its `SETTINGS` stand above those of the configuration, and instead of
            its digest they are in that step's key. So what was found has the key that it has if a person wrote it down.
        promoted: from the promotion log, oldest first, the content digest of each input (empty while it is not known)
            and the measurements of what the step stands for (or None) to objects of the store that it reads, name →
            content digests. They are external inputs: part of the key, and whether the store still has each of them
            too. What it stands for must not change the answer as long as the inputs stay, or it is never fresh.
        recorded: `module:function` that chooses what it reads although its key does not have it; called whenever the
            step is built, as `function(beginning, **arguments)`, returns further external inputs. What was chosen is
            told by the result. As it is in no key, a promotion makes nothing stale by itself.
        remembers: whether it is given what it stood for before where something outside is gone since: `Build.before`.
        forgets: whether it reads the source, and keeps out what is forgotten: external input `forgotten`, see
            `assets.store.forgotten`; none as long as nothing is.
        beside: from (the pipeline's folder, configuration) to what it reads of what people keep beside `defs.yaml`.
        environment: libraries whose version is part of the key, `name` or `name:minor` or `name:major`.
        libraries: from the configuration to further ones that it makes use of.
        roots: from the configuration to further code that the function reaches by configuration: `module` or
            `module:name`.
        program: module that is started as `python -m PROGRAM SPEC.json` to run the function in a process of its own.
        accelerator: whether it wants the GPU.
        decides: whether it appends to the promotion log instead of being cached.
        settle: `module:function` called after every decision, and again until it succeeds, to bring what stands
            outside in line with the log; called as `function(settlement)`, returns JSON that is kept with the log.
            Where it has a value under `undelivered`, the step is stale until it has none.
        settles_by: dotted paths of the configuration that this function reads; no part of the key.
        checks: judgements about its result.
        kinds: words for Dagster's UI.
        new_rows: `module:function` that counts the rows of its content that an earlier one does not have; called as
            `function(content, earlier)`, folders, the second None where there is no earlier one.
    """

    name: str
    description: str
    function: str
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    wanted: Callable[[Any], bool] | None = None
    optional: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    preflight: str | None = None
    configuration: tuple[str, ...] = ()
    externals: Callable[[Any, FileIndex], Mapping[str, Observation]] | None = None
    tunes: str | None = None
    promoted: Promoted | None = None
    recorded: str | None = None
    remembers: bool = False
    forgets: bool = False
    beside: Callable[[Path, Any], Mapping[str, Observation]] | None = None
    environment: tuple[str, ...] = ()
    libraries: Callable[[Any], tuple[str, ...]] | None = None
    roots: Callable[[Any], tuple[str, ...]] | None = None
    program: str | None = None
    accelerator: bool = False
    decides: bool = False
    settle: str | None = None
    settles_by: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    kinds: tuple[str, ...] = ()
    new_rows: str | None = None

    @property
    def alone(self) -> bool:
        """Whether it can be run by itself: it only comes after others, and reads a source of its own."""
        return bool(self.after) and not self.inputs and self.externals is not None


@dataclass(frozen=True)
class Settlement:
    """What a step that decides is given to bring what stands outside (a registry) in line with the log.

    Attributes:
        pipeline: the pipeline's name.
        environment: whose log it is.
        entries: the whole log, oldest first.
        content: from a content digest to its local folder, verified.
        trace: from a trace digest to its local folder, verified.
        record: from a key to its record, or None.
        settled: what the function returned when it was last called, and `number` of the last entry that it saw then;
            empty before that.
        overwrite: whether what somebody changed outside by hand is to be set back.
        settings: its part of the configuration, by the last part of each path.
        tracking_uri: of the MLflow server or database.
        artifact_root: where MLflow keeps the artifacts of experiments that it makes; None: the server's own place.
        progress: where to say how far it is.
    """

    pipeline: str
    environment: str
    entries: tuple[LogEntry, ...]
    content: Callable[[str], Path]
    trace: Callable[[str], Path]
    tracking_uri: str
    artifact_root: str | None
    progress: Progress
    record: Callable[[str], Record | None] = lambda _: None
    settled: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def load(function: str) -> Callable[..., Any]:
    """The function that a declaration names as `module:function`."""
    module, _, name = function.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded
