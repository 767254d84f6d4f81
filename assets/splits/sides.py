"""The sides by name; without numpy, which judging a split again does without."""

SIDES = ("train", "validation", "test")
"""In the order in which a group takes the lowest of its members' sides."""
