"""What can be wrong with the configuration of cleaning, found before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check(*, mask_pii: Sequence[str] | None, **_others: Any) -> None:
    """Refuse to mask personal data without the library for it; the arguments are those of `clean`.

    Raises:
        ConfigurationError: if it is not installed.
    """
    if mask_pii is not None:
        from assets.cleaned.masking import require

        require()
