"""Automatic code digests: which pieces of the project's own code a function reaches, and a digest of each.

Source is parsed, never imported. A piece is a function, a class or a fixed value at module level. Whatever is not safe
by itself counts with its whole module and all that this module reaches, so that no change is missed:

- a module that does more than define while it is imported (calls, loops, `if`, `try`, decorators of the project,
  changes of what exists, star imports) counts as a whole as soon as anything that is reached imports it, however
  indirectly;
- a name that is bound more than once, rebound by a function or holds something mutable stands for its whole module;
- a piece that looks names up at run time (`getattr` of no literal, `globals`, `eval`, `import_module`, …) likewise;
- a module that is passed around as an object likewise, with its submodules and the modules that it imports;
- where a class acts on the classes derived from it (`__init_subclass__`, a metaclass, `__subclasses__`), every module
  that is imported and derives classes counts as a whole.

A package's `__init__` is a module like any other: it counts where a name of it is used or where importing it does more
than define; one with declarations only does not. Strings of a reached piece are references where they are written like
one (`assets.x.y:function`), or name a module (`assets.x.y`), a data file of the project by any end of its path
(`report.html.j2`) or a folder of data files. Docstrings never count, nor do the modules of `modules.NOT_FOLLOWED`.
"""

from __future__ import annotations

import ast
import difflib
import gc
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from assets.errors import ConfigurationError
from assets.store.modules import Module, followed
from assets.store.syntax import Origin, Statement

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?", re.ASCII)
_GLOBAL = re.compile(rb"(^|[;:])[ \t]*global[ \t\\]", re.MULTILINE)
_MISSING = "0" * 16
_QUOTED = re.compile(r"""["']([^"'\n]+)["']""")

_Piece = tuple[str, str]
"""A module and what it defines, or "" for the whole module."""

_parsed: dict[Path, tuple[tuple[int, int, int, int], Module]] = {}


def code_pieces(roots: Sequence[str], package_root: Path | None = None) -> dict[str, str]:
    """Find every piece of the project's own code that the roots reach.

    Args:
        roots: `module:function`, `module` (with its `__main__` where it is a package that has one) or `path:FILE`, a
            data file relative to the package's folder.
        package_root: folder of the package; by default that of `assets`.

    Returns:
        For each piece, ordered by name, 16 hexadecimal digits (zeros for a module that is imported but not there). A
        name is `assets.evaluation.metrics.macro_f1`, or `assets.evaluation.metrics` for the whole module, or
        `path:release/report.html.j2`.

    Raises:
        ConfigurationError: a root names nothing, or a file cannot be parsed.
    """
    with _no_garbage_collection():
        reach = _Reach(_Package(package_root or Path(__file__).parents[1]))
        for root in roots:
            reach.root(root)
        return reach.digests()


def code_digest(pieces: Mapping[str, str]) -> str:
    """Digest of all pieces together: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(pieces), sort_keys=True).encode()).hexdigest()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are many objects and no garbage: to look for some takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(path: Path, name: str) -> Module:
    seen = path.stat()
    version = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino)
    known = _parsed.get(path)
    if known is None or known[0] != version:
        source = path.read_bytes()
        try:
            tree = ast.parse(source, str(path))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            raise ConfigurationError(
                f"cannot be parsed: {error}",
                where=f"{path}:{line}",
                fix="correct the file; its code is reached by a step",
            ) from error
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        known = _parsed[path] = (version, Module(name, package, tree, rebinds=_GLOBAL.search(source) is not None))
    return known[1]


class _Package:
    """The files of the project's package, as they are now."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        self._files: dict[str, Path | None] = {}
        self._data: dict[str, list[str]] = {}
        self._modules: dict[str, Module] = {}
        self._scan(root)

    def module(self, name: str) -> Module | None:
        """The module, or None where there is none."""
        if name not in self._modules and name in self._files:
            file = self._files[name]
            namespace = Module(name, name, ast.Module([], []), rebinds=False)
            self._modules[name] = _parse(file, name) if file else namespace
        return self._modules.get(name)

    def holds(self, name: str) -> bool:
        """Whether it is one of the project's modules."""
        return name in self._files

    def owns(self, name: str) -> bool:
        """Whether the name lies within the package."""
        return name == self.name or name.startswith(f"{self.name}.")

    def submodules(self, name: str) -> list[str]:
        """Modules right below a package."""
        return [module for module in self._files if module.rpartition(".")[0] == name]

    def modules(self) -> list[str]:
        """Every module."""
        return sorted(self._files)

    def data(self, end: str) -> list[str]:
        """Data files whose path, or whose folder's path, ends so; relative to the package."""
        return self._data.get(end, [])

    def _scan(self, root: Path) -> None:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
            here = Path(folder)
            parts = here.relative_to(root).parts
            package = ".".join([self.name, *parts])
            for name in names:
                if name.endswith(".py"):
                    self._add_module(package if name == "__init__.py" else f"{package}.{name[:-3]}", here / name)
                elif not name.startswith(".") and not name.endswith((".pyc", ".pyi", ".typed")):
                    self._add_data([*parts, name])

    def _add_module(self, name: str, file: Path) -> None:
        self._files[name] = file
        while name != self.name:  # packages without an `__init__`
            name = name.rpartition(".")[0]
            self._files.setdefault(name, None)

    def _add_data(self, parts: list[str]) -> None:
        folders = [parts[:end] for end in range(1, len(parts))]
        purely_data = [folder for folder in folders if not (self.root.joinpath(*folder) / "__init__.py").exists()]
        for path in [parts, *purely_data]:
            for start in range(len(path)):
                self._data.setdefault("/".join(path[start:]), []).append("/".join(parts))


class _Reach:
    """What the roots reach, found piece by piece.

    Names are resolved to targets. A target is written into the digest of the piece that uses it, since the same words
    may come to stand for something else, and is reached itself.
    """

    def __init__(self, package: _Package) -> None:
        self._package = package
        self._targets: dict[_Piece, set[str]] = {}
        self._queue: list[_Piece] = []
        self._other: dict[str, str] = {}
        self._resolved: dict[tuple[str, ...], list[str]] = {}
        self._executed: set[str] = set()
        self._escaped: set[str] = set()
        self._hooks = False

    def digests(self) -> dict[str, str]:
        """Digest of each piece; a piece of a module that counts as a whole is not named besides."""
        found = dict(self._other)
        for (name, defined), targets in self._targets.items():
            if not defined or (name, "") not in self._targets:
                # `assets/a/__init__.py` may define `b` beside `assets/a/b.py`.
                separator = ":" if self._package.holds(f"{name}.{defined}") else "."
                key = f"{name}{separator}{defined}" if defined else name
                found[key] = self._module(name).digest(self._nodes(name, defined), targets)
        return dict(sorted(found.items()))

    def _module(self, name: str) -> Module:
        module = self._package.module(name)
        assert module is not None, name
        return module

    def _nodes(self, name: str, defined: str) -> list[ast.stmt]:
        module = self._module(name)
        return [module.definitions[defined]] if defined else module.nodes

    def root(self, root: str) -> None:
        """Reach a root and all that it reaches."""
        name, _, rest = root.partition(":")
        module = self._package.module(name)
        if name == "path":
            if not (self._package.root / rest).is_file():
                raise _unknown(root, f"there is no file {rest} in {self._package.root}", [])
            self._take_data(rest)
        elif module is None or not followed(name):
            names = [known for known in self._package.modules() if followed(known)]
            raise _unknown(root, f"{name} is no module of {self._package.root} that counts", names)
        elif not rest:
            self._take_program(name)
        elif rest.partition(".")[0] not in module.names:
            raise _unknown(root, f"{name} defines no {rest}", sorted(module.names))
        else:
            self._resolve(name, rest.split("."))
        self._run()

    def _run(self) -> None:
        while self._queue:
            self._read(*self._queue.pop())
            if self._hooks and not self._queue:
                for name in sorted(self._executed):
                    module = self._package.module(name)
                    if module is not None and module.derives:
                        self._take_whole(name)

    def _read(self, name: str, defined: str) -> None:
        """Reach all that a piece refers to."""
        module, nodes = self._module(name), self._nodes(name, defined)
        statements = [module.statement(node) for node in nodes]
        imports: dict[str, set[Origin]] = {}
        for node, statement in zip(nodes, statements, strict=True):
            for alias, origins in statement.imports.items():
                imports.setdefault(alias, set()).update(origins)
            if not defined and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._take_imports(statement)
        targets = self._targets[name, defined]
        for statement in statements:
            for chain in statement.references:
                targets.update(f"{chain}={target}" for target in self._stands_for(module, chain, imports))
            for imported in statement.executes:
                self._execute(imported)
            for text in statement.strings:
                self._take_string(text)
            if statement.dynamic:
                self._hooks = self._hooks or "__subclasses__" in statement.dynamic
                self._take_whole(module.name)

    def _take_imports(self, statement: Statement) -> None:
        """Whoever has a module as a whole has all that it imports."""
        for origins in statement.imports.values():
            for origin in origins:
                self._imported(origin, [])

    def _stands_for(self, module: Module, chain: str, imports: Mapping[str, Iterable[Origin]]) -> list[str]:
        """Targets of a chain of names in a piece; none for what is built in."""
        first, *rest = chain.split(".")
        targets = [target for origin in imports.get(first, ()) for target in self._imported(origin, rest)]
        return targets + (self._own(module, first, rest) if first in module.names else [])

    def _imported(self, origin: Origin, rest: list[str]) -> list[str]:
        source, name = origin
        return self._resolve(source, [name, *rest] if name and name != "*" else rest)

    def _resolve(self, name: str, rest: list[str]) -> list[str]:
        """Targets of attributes of a module of whatever package; they are reached."""
        full = ".".join([name, *rest])
        if not self._package.owns(name) or not followed(full):
            return [full]
        known = (name, *rest)
        if known not in self._resolved:
            self._resolved[known] = [full]  # for modules that import the same name from each other
            self._resolved[known] = self._resolve_own(name, rest) or [full]
        return self._resolved[known]

    def _resolve_own(self, name: str, rest: list[str]) -> list[str]:
        module = self._package.module(name)
        self._execute(name)
        if module is None:
            self._other[name] = _MISSING
            return []
        if not rest:
            self._escape(name)
            return []
        targets = self._own(module, rest[0], rest[1:]) if rest[0] in module.names else []
        below = f"{name}.{rest[0]}"
        if self._package.holds(below):  # the submodule may be meant as well, by the order of imports
            targets = targets + self._resolve(below, rest[1:])
        elif not targets:
            self._take_whole(name)
        return targets

    def _own(self, module: Module, name: str, rest: list[str]) -> list[str]:
        """Targets of a name that a module binds."""
        full = f"{module.name}.{name}"
        if name in module.unsafe:
            self._take_whole(module.name)
        elif name in module.imports:
            return self._imported(module.imports[name], rest)
        else:
            self._take(module.name, name)
        return [full]

    def _take(self, name: str, defined: str) -> None:
        piece = (name, defined)
        if piece not in self._targets:
            self._targets[piece] = set()
            self._queue.append(piece)
            self._execute(name)

    def _take_whole(self, name: str) -> None:
        if self._package.holds(name):
            self._take(name, "")

    def _take_program(self, name: str) -> None:
        """A module as `import NAME` and `python -m NAME` run it."""
        self._take_whole(name)
        self._take_whole(f"{name}.__main__")

    def _escape(self, name: str) -> None:
        """A module as an object: anything in it and below it may be used."""
        if name not in self._escaped and followed(name):
            self._escaped.add(name)
            self._take_whole(name)
            for module in self._package.submodules(name):
                self._escape(module)

    def _execute(self, name: str) -> None:
        """An import runs a module, the packages above it and what they import; only what that alters must count."""
        pending = [name]
        while pending:
            name = pending.pop()
            if name in self._executed or not self._package.owns(name) or not followed(name):
                continue
            self._executed.add(name)
            pending.append(name.rpartition(".")[0])
            module = self._package.module(name)
            if module is not None:
                pending.extend(module.executes)
                self._hooks = self._hooks or module.hooks
                if module.effects:
                    self._take_whole(name)

    def _take_string(self, text: str) -> None:
        for name in self._package.data(text):
            self._take_data(name)
        if not text.startswith(f"{self._package.name}.") or not _REFERENCE.fullmatch(text):
            return
        module, colon, attribute = text.partition(":")
        rest = attribute.split(".") if attribute else []
        while not colon and "." in module and not self._package.holds(module):
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
        if rest and (colon or "." in module):
            self._resolve(module, rest)
        elif followed(module) and "." in module:
            self._take_program(module)

    def _take_data(self, name: str) -> None:
        if f"path:{name}" in self._other:
            return
        content = (self._package.root / name).read_bytes()
        self._other[f"path:{name}"] = hashlib.sha256(content).hexdigest()[:16]
        for quoted in _QUOTED.findall(content.decode("latin-1")):  # a template that includes another
            for other in self._package.data(quoted):
                self._take_data(other)


def _unknown(root: str, what: str, names: list[str]) -> ConfigurationError:
    near = difflib.get_close_matches(root.partition(":")[2] or root, names, n=3)
    near = near or difflib.get_close_matches(root.partition(":")[0], names, n=3)
    fix = f"did you mean {' or '.join(near)}?" if near else "write module:function, module or path:FILE"
    return ConfigurationError(f"code root {root!r}: {what}", fix=fix)
