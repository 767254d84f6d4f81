"""Reads a YAML file of declarations together with where each value stands, and finds what YAML itself lets pass."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from assets.errors import ConfigurationError

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML that was built without libyaml: the same, slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

FieldPath = tuple[str | int, ...]
"""Names of fields and numbers of list entries, from the outside in."""

_TAG = "tag:yaml.org,2002:"
_LITERAL = re.compile(
    r"\s*([-+]?[0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?|true|false|yes|no|on|off|[ytnf])\s*", re.IGNORECASE
)
_DATA = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


class _Loader(_SafeLoader):
    """Safe loader that reads `3e-5` as a number, as YAML 1.2 does; YAML 1.1 wants `3.0e-5`."""


_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))


@dataclass(frozen=True)
class Place:
    """Where a value stands.

    Attributes:
        line: of its key, or of the entry of a list.
        written: as it is written, shortened; "a section" or "a list" for what has parts.
        kind: `str`, `int`, `float`, `bool`, `null`, `map` or `seq`.
        quoted: whether it is in quotes or a block of text.
    """

    line: int
    written: str
    kind: str
    quoted: bool

    @property
    def is_quoted_literal(self) -> bool:
        """Whether it is text that reads as a number or as true or false."""
        return self.quoted and _LITERAL.fullmatch(self.written[1:-1]) is not None


@dataclass(frozen=True)
class Problem:
    """One error: where it is and, in plain words, what is wrong, what is accepted and how to put it right."""

    line: int
    path: FieldPath
    text: str


@dataclass
class Document:
    """What a file holds.

    Attributes:
        data: as plain values.
        places: of every value, by path.
        problems: found by reading.
        replaced: values that have a problem; they stand in `data` as "".
    """

    data: Any = None
    places: dict[FieldPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    replaced: set[FieldPath] = field(default_factory=set)


def dotted(path: FieldPath) -> str:
    """`task.labels[1]` of a path."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_document(content: bytes, where: str) -> Document:
    """Read a file.

    Args:
        content: its bytes.
        where: its name for messages.

    Raises:
        ConfigurationError: if it is not one YAML document in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
        loader = _Loader(text)
        nodes: list[yaml.Node] = []
        while loader.check_node():
            nodes += filter(None, [loader.get_node()])
        if len(nodes) > 1:
            raise ConfigurationError(
                "holds several documents; one is accepted",
                where=f"{where}:{nodes[1].start_mark.line + 1}",
                fix="remove the line `---`, or give each pipeline a folder of its own",
            )
        document = Document()
        if nodes:
            _walk(nodes[0], (), document, ())
            document.data = loader.construct_document(nodes[0])
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}", where=where, fix="save it as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise _invalid(error, text, where) from error
    return document


def _invalid(error: yaml.YAMLError, text: str, where: str) -> ConfigurationError:
    mark = getattr(error, "problem_mark", None)
    tab = False
    if mark is not None:
        where = f"{where}:{mark.line + 1}:{mark.column + 1}"
        line = "".join(text.split("\n")[mark.line : mark.line + 1])
        tab = "\t" in line[: mark.column + 1]
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    fix = (
        "indent with spaces, not with tabs"
        if tab
        else "correct the indentation, colons or quotes at or before this place"
    )
    return ConfigurationError(f"is no valid YAML: {what}", where=where, fix=fix)


def _walk(node: yaml.Node, path: FieldPath, document: Document, around: tuple[yaml.Node, ...]) -> None:
    """Note the place of every value below, and what is wrong with it."""
    if any(node is outer for outer in around):
        mark = node.start_mark
        raise yaml.composer.ComposerError(None, None, "a value that holds itself", mark)
    around = (*around, node)
    if isinstance(node, yaml.MappingNode):
        _walk_mapping(node, path, document, around)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _place(item, item, (*path, number), document)
            _walk(item, (*path, number), document, around)


def _walk_mapping(node: yaml.MappingNode, path: FieldPath, document: Document, around: tuple[yaml.Node, ...]) -> None:
    first: dict[str, int] = {}
    kept = []
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag != f"{_TAG}str":
            written = "an expression" if not isinstance(key, yaml.ScalarNode) else f"`{key.value}`"
            fix = "write the fields out" if key.tag == f"{_TAG}merge" else "put it in quotes if it is meant"
            problem = f"{written} is no name of a field; accepted: text; fix: {fix}"
            document.problems.append(Problem(line, path, problem))
            continue
        here = (*path, key.value)
        if key.value in first:
            problem = f"is given twice, first in line {first[key.value]}; fix: keep one of the two"
            document.problems.append(Problem(line, here, problem))
            continue
        first[key.value] = line
        kept.append((key, value))
        _place(key, value, here, document)
        _walk(value, here, document, around)
    node.value = kept


def _place(at: yaml.Node, node: yaml.Node, path: FieldPath, document: Document) -> None:
    line = at.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode):
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        document.places[path] = Place(line, "a list" if kind == "seq" else "a section", kind, quoted=False)
        return
    quoted = bool(node.style)
    text = node.value if len(node.value) <= 60 else f"{node.value[:57]}…"
    written = f'"{text}"' if quoted else text
    written = " ".join(written.split())
    problem = ""
    if node.tag not in _DATA:
        kind = "a date" if node.tag == f"{_TAG}timestamp" else f"the tag {node.tag.removeprefix(_TAG)}"
        problem = f"{written} is read by YAML as {kind}, which is not accepted; fix: put it in quotes if text is meant"
    elif "{{" in node.value or "{%" in node.value:
        problem = (
            f"{written} is a template, and templates are not evaluated; accepted: the value itself; "
            "fix: write the value, or the name of an environment variable where one is asked for"
        )
    if problem:
        document.problems.append(Problem(line, path, problem))
        document.replaced.add(path)
        node.tag, node.value = f"{_TAG}str", ""
    document.places[path] = Place(line, written, node.tag.removeprefix(_TAG), quoted)
