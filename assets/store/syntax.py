"""What the source of a module says: the canonical form and the references of each of its statements.

Nothing is imported. The canonical form is our own serialisation of the syntax tree, the same on every supported version
of Python: positions, contexts, type comments, docstrings (every bare constant), `pass` and empty fields are left out,
so that fields which newer versions add count only where they are used. Strings are written by length, not by `repr`,
which goes by the Unicode tables of the running Python.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Origin = tuple[str, str]
"""Where an import gets a name from: (module, name), the name "" where it is the module itself."""

_DYNAMIC_ATTRIBUTES = frozenset(
    {
        *("__dict__", "__getattribute__", "__globals__", "__import__", "__subclasses__", "attrgetter", "getmembers"),
        *("import_module", "methodcaller", "resolve_name", "run_module", "run_path", "spec_from_file_location"),
    }
)
_DYNAMIC_NAMES = _DYNAMIC_ATTRIBUTES | {
    *("compile", "delattr", "eval", "exec", "getattr", "globals", "locals", "setattr", "vars"),
}
"""Words that look names up while the program runs; `re.compile` and `model.eval` are harmless."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of a name or a chain of attributes that starts at a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


@dataclass(frozen=True, slots=True)
class Statement:
    """What one statement of a module says.

    Attributes:
        form: digest of the canonical form.
        references: names of the module that it uses, with the attributes taken from them: `np`, `metrics.macro_f1`.
        imports: what the imports inside of it bind: name → origins.
        executes: modules that these imports execute, perhaps (`from a import b`: `a.b` may be no module).
        strings: its string constants.
        dynamic: by which words it looks names up at run time or rebinds names of the module.
    """

    form: str
    references: frozenset[str]
    imports: dict[str, set[Origin]]
    executes: set[str]
    strings: set[str]
    dynamic: set[str]


@dataclass(slots=True)
class _Scope:
    loaded: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)


class _Reader:
    """One pass over a statement that writes its canonical form and notes what it refers to."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._out: list[str] = []
        self._scope = _Scope()
        self._kept: set[str] = set()
        self._literal: set[str] = set()
        self._imports: dict[str, set[Origin]] = {}
        self._executes: set[str] = set()
        self._strings: set[str] = set()
        self._dynamic: set[str] = set()

    def read(self, node: ast.stmt) -> Statement:
        self._visit(node)
        form = hashlib.sha256("".join(self._out).encode("utf-8", "surrogatepass")).hexdigest()
        names = frozenset(self._scope.loaded | self._kept)
        self._dynamic.update(_DYNAMIC_NAMES.intersection(name.partition(".")[0] for name in names))
        return Statement(form, names | self._literal, self._imports, self._executes, self._strings, self._dynamic)

    def _visit(self, node: ast.AST) -> None:
        special = _SPECIAL.get(node.__class__)
        if special is not None:
            special(self, node)
        else:
            self._fields(node, _fields(node.__class__))

    def _fields(self, node: ast.AST, names: Iterable[str]) -> None:
        out = self._out
        out.append(node.__class__.__name__)
        out.append("(")
        for name in names:
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            out.append(name)
            if value.__class__ is list:
                self._list(value)
            elif isinstance(value, ast.AST):
                self._visit(value)
            else:
                self._atom(value)
        out.append(")")

    def _list(self, values: list[Any]) -> None:
        out = self._out
        out.append("[")
        for value in values:
            if not isinstance(value, ast.AST):
                self._atom(value)
            elif not says_nothing(value):
                self._visit(value)
                out.append(",")
        out.append("]")

    def _atom(self, value: object) -> None:
        if isinstance(value, str):
            self._out.append(f"{len(value)}:{value},")
        else:  # numbers, bytes, None, True, False and Ellipsis look the same everywhere
            self._out.append(f"{value!r},")

    def _constant(self, node: ast.Constant) -> None:
        self._out.append("'")
        if isinstance(node.value, str):
            self._text(node.value)
        else:
            self._atom(node.value)

    def _text(self, text: str) -> None:
        self._strings.add(text)
        self._atom(text)

    def _joined(self, node: ast.JoinedStr) -> None:
        # Versions differ in how they cut the constant parts of an f-string: they are joined.
        self._out.append("f'[")
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            self._text(text)
            text = ""
            self._visit(part)
        self._text(text)
        self._out.append("]")

    def _name(self, node: ast.Name) -> None:
        self._out.append(f"@{node.id},")
        if node.ctx.__class__ is ast.Load:
            self._scope.loaded.add(node.id)
        else:
            self._scope.bound.add(node.id)

    def _attribute(self, node: ast.Attribute) -> None:
        if node.attr in _DYNAMIC_ATTRIBUTES:
            self._dynamic.add(node.attr)
        chain = dotted(node)
        if chain is None:
            self._out.append(f".{node.attr},")
            self._visit(node.value)
            return
        self._out.append(f"@{chain},")
        self._scope.loaded.add(chain)
        if chain.startswith("sys.modules"):
            self._dynamic.add("sys.modules")

    def _call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[of, ast.Constant(value=str(name)), *default], keywords=[]):
                # No look-up at run time: the same as `of.name`.
                self._literal.add("getattr")
                self._out.append("getattr(")
                self._visit(ast.Attribute(of, name, ast.Load()))
                self._list(default)
                self._out.append(")")
            case _:
                self._fields(node, _fields(ast.Call))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self._fields(node, _fields(node.__class__))
        for name, origin in bindings(node, self._package):
            self._imports.setdefault(name, set()).add(origin)
            self._scope.aliases.add(name)
        self._executes.update(executed(node, self._package))

    def _rebinds(self, node: ast.Global) -> None:
        self._fields(node, _fields(ast.Global))
        self._dynamic.add("global")  # what it binds is no name of its own

    def _shares(self, node: ast.Nonlocal) -> None:
        self._fields(node, _fields(ast.Nonlocal))
        self._scope.aliases.update(node.names)  # may be what an enclosing function imports

    def _function(self, node: Function | ast.Lambda) -> None:
        # Decorators, defaults and annotations are evaluated outside; only the body sees the parameters.
        if not isinstance(node, ast.Lambda):
            self._scope.bound.add(node.name)
        self._fields(node, [name for name in _fields(node.__class__) if name != "body"])
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
        body = node.body if isinstance(node.body, list) else [node.body]
        self._inside(lambda: self._list(body), {parameter.arg for parameter in parameters})

    def _comprehension(self, node: _Comprehension) -> None:
        # The first iterable is evaluated outside.
        first, *others = node.generators
        self._out.append(f"{node.__class__.__name__}(")
        self._visit(first.iter)

        def inside() -> None:
            self._visit(first.target)
            self._list([*first.ifs, "async" if first.is_async else "", *others])
            self._list([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])

        self._inside(inside, set())
        self._out.append(")")

    def _inside(self, visit: Callable[[], None], bound: set[str]) -> None:
        """Visit a scope of its own; names that it binds are not those of the scope around it."""
        outer, self._scope = self._scope, _Scope(bound=bound)
        visit()
        inner, self._scope = self._scope, outer
        for name in inner.loaded:
            first = name.partition(".")[0]
            if first in inner.aliases:  # stands for what was imported, whatever the scopes around it bind
                self._kept.add(name)
            elif first not in inner.bound:
                outer.loaded.add(name)

    def _class(self, node: ast.ClassDef) -> None:
        # What a class binds is not seen by its methods, and what it loads may be the module's: nothing is taken off.
        outer = self._scope
        outer.bound.add(node.name)
        self._scope = _Scope(loaded=outer.loaded, aliases=outer.aliases)
        self._fields(node, _fields(ast.ClassDef))
        self._scope = outer


_SPECIAL: dict[type[ast.AST], Callable[[_Reader, Any], None]] = {
    ast.Constant: _Reader._constant,
    ast.JoinedStr: _Reader._joined,
    ast.Name: _Reader._name,
    ast.Attribute: _Reader._attribute,
    ast.Call: _Reader._call,
    ast.Import: _Reader._import,
    ast.ImportFrom: _Reader._import,
    ast.Global: _Reader._rebinds,
    ast.Nonlocal: _Reader._shares,
    ast.FunctionDef: _Reader._function,
    ast.AsyncFunctionDef: _Reader._function,
    ast.Lambda: _Reader._function,
    ast.ClassDef: _Reader._class,
    ast.ListComp: _Reader._comprehension,
    ast.SetComp: _Reader._comprehension,
    ast.GeneratorExp: _Reader._comprehension,
    ast.DictComp: _Reader._comprehension,
}

_FIELDS: dict[type[ast.AST], list[str]] = {}


def _fields(kind: type[ast.AST]) -> list[str]:
    """Fields that count, by name, so that their order in a version of Python does not matter."""
    if kind not in _FIELDS:
        _FIELDS[kind] = sorted(set(kind._fields) - {"ctx", "type_comment", "type_ignores", "kind"})
    return _FIELDS[kind]


def says_nothing(node: ast.AST) -> bool:
    """Whether a statement does nothing: a docstring, `...`, `pass`."""
    kind = node.__class__
    return kind is ast.Pass or (kind is ast.Expr and isinstance(node.value, ast.Constant))  # type: ignore[attr-defined]


def _source_module(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    base = package.split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def bindings(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Origin]]:
    """The names that an import binds and where each comes from; `package` is what a relative import starts at."""
    if isinstance(node, ast.ImportFrom):
        source = _source_module(node, package)
        yield from ((alias.asname or alias.name, (source, alias.name)) for alias in node.names)
        return
    for alias in node.names:
        top = alias.name.partition(".")[0]
        yield (alias.asname, (alias.name, "")) if alias.asname else (top, (top, ""))


def executed(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Modules that an import executes; of `from a import b` both `a` and `a.b`, which may be no module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    source = _source_module(node, package)
    yield source
    yield from (f"{source}.{alias.name}" for alias in node.names)


def read_statement(node: ast.stmt, package: str) -> Statement:
    """Read a statement; `package` is what its relative imports start at."""
    return _Reader(package).read(node)
