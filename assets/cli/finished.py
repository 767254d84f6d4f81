"""What a run came to: its steps, the account of its rows, metrics and decision, and whether all is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets.cli.registered import Registered
from assets.release.account import row_account
from assets.store.runner import StepResult
from assets.store.step import Check, Outcome, Step


@dataclass(frozen=True)
class FailedCheck:
    """A check that does not hold.

    Attributes:
        step: whose result it is about.
        check: the check.
        outcome: what it found.
    """

    step: str
    check: Check
    outcome: Outcome

    @property
    def blocks(self) -> bool:
        """Whether the steps after it refuse to run."""
        return self.check.stops(self.outcome)

    def __str__(self) -> str:
        return f"check {self.check.name} of {self.step} failed: {self.outcome.message}"


@dataclass(frozen=True)
class Finished:
    """What a run came to.

    Attributes:
        pipeline: the pipeline's name.
        steps: the steps that were wanted, in the order of the chain.
        results: what became of each step that has a result.
        registered: promotion log and registry after the run.
        run_id: Dagster's, or None where nothing was to be done.
        error: why the run failed, or None.
        sample: only so many rows were used, or None for all.
    """

    pipeline: str
    steps: tuple[Step, ...]
    results: Mapping[str, StepResult]
    registered: Registered
    run_id: str | None = None
    error: str | None = None
    sample: int | None = None

    @property
    def account(self) -> dict[str, int] | None:
        """Where the rows went (law 5), see `row_account`; None if the run did not get that far."""
        if not {"raw", "validated", "cleaned"} <= set(self.results):
            return None
        return row_account({name: result.measurements for name, result in self.results.items()})

    @property
    def failed_checks(self) -> list[FailedCheck]:
        """Checks that do not hold, in the order of the chain."""
        return [
            FailedCheck(step.name, check, outcome)
            for step in self.steps
            if step.name in self.results
            for check in step.checks
            if not (outcome := self.results[step.name].outcomes[check.name]).passed
        ]

    @property
    def problems(self) -> list[str]:
        """Why the run is no success, in words; nothing if it is one."""
        problems = [self.error] if self.error is not None else []
        # A run that a check stopped has said so itself.
        problems += [str(failed) for failed in self.failed_checks if failed.blocks and self.error is None]
        if self.account is not None and self.account["missing"]:
            problems.append(
                f"THE ROWS DO NOT ADD UP: {account_in_words(self.account)}; do not trust this result, "
                "and report it as a bug"
            )
        return problems

    @property
    def success(self) -> bool:
        """Whether the run did what it should, and what stands passes its blocking checks."""
        return not self.problems

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers on the test set, by name."""
        return _numbers(self.results["evaluation"].measurements) if "evaluation" in self.results else {}

    @property
    def baseline(self) -> dict[str, float]:
        """The baseline's numbers on the same rows, by name."""
        return _numbers(self.results["evaluation"].measurements["baseline"]) if "evaluation" in self.results else {}

    @property
    def comparisons(self) -> list[Mapping[str, Any]]:
        """What the gate compared."""
        return list(self.results["release"].measurements["comparisons"]) if "release" in self.results else []

    @property
    def release(self) -> dict[str, Any] | None:
        """The gate's latest decision, or None if the run did not get that far."""
        decision = self.registered.decision
        if "release" not in self.results or decision is None:
            return None
        model = decision["challenger"]
        return {
            "decision": decision["decision"],
            "version": self.registered.version(model),
            "alias": self.registered.alias(model),
        }

    def json(self) -> dict[str, Any]:
        """As `freshtune run --json` prints it; `error` is there only if it failed."""
        fields = {
            "pipeline": self.pipeline,
            "run_id": self.run_id,
            "success": self.success,
            "steps": [self.results[step.name].json() for step in self.steps if step.name in self.results],
            "metrics": self.metrics,
            "release": self.release,
        }
        return fields if self.success else {**fields, "error": "\n".join(self.problems)}


def account_in_words(account: Mapping[str, int]) -> str:
    """Where the rows went, as an equation."""
    sign = "≠" if account["missing"] else "="
    forgotten = f" + {account['forgotten']:,} forgotten" if account.get("forgotten") else ""
    return (
        f"{account['read']:,} rows read {sign} {account['kept']:,} accepted + {account['quarantined']:,} in quarantine "
        f"+ {account['merged']:,} merged as duplicates{forgotten}"
    )


def _numbers(measurements: Mapping[str, Any]) -> dict[str, float]:
    """Metrics are floats; counts are integers, and everything else is a table or a text."""
    return {name: value for name, value in measurements.items() if isinstance(value, float)}
