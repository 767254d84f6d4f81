"""Names of the sides; here, so that judging measurements imports nothing."""

from __future__ import annotations

SIDES = ("train", "validation", "test")
"""From the lowest to the highest: a group that grows moves only downwards."""
