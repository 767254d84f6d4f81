"""Code digests: what each change of the source makes stale, and that nothing else does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError
from assets.store.code import code_digest, code_pieces
from assets.store.modules import Module
from assets.store.syntax import read_statement

REPOSITORY = Path(__file__).parents[2]

NUMBERS = '''
"""Numbers."""

import math
from dataclasses import dataclass
from functools import lru_cache
from math import floor as whole

RATE = 0.5
PAIR = (1, RATE)


def double(x):
    """Twice."""
    return 2 * x  # two times


def half(x, rate=RATE):
    def inner(y):
        return y * rate

    return inner(x)


def rounded(x):
    return whole(x)


def unused(x):
    return x


@lru_cache
def cached(x):
    return math.sqrt(x)


class Base:
    factor = 1

    def scaled(self, x):
        return x * self.factor


@dataclass(frozen=True)
class Shape(Base):
    """A shape."""

    side: int = 1

    def area(self):
        return self.scaled(double(self.side))


class Other:
    pass
'''
FILES = {
    "__init__.py": '"""The package."""\n',
    "lib/__init__.py": "from assets.lib.numbers import double as twice, unused\n",
    "lib/numbers.py": NUMBERS,
    "run.py": """
        from assets.lib.numbers import half, rounded, PAIR, Shape, cached

        def run(build):
            return half(1), rounded(2), PAIR, Shape().area(), cached(3)
        """,
}
N = "assets.lib.numbers."
REACHED = {f"{N}{name}" for name in ("RATE", "PAIR", "double", "half", "rounded", "cached", "Base", "Shape")}


def write(root: Path, files: Mapping[str, str]) -> Path:
    package = root / "assets"
    for name, text in {"__init__.py": "", **files}.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    for folder in [path.parent for path in package.rglob("*.py")]:
        (folder / "__init__.py").touch()
    return package


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    return (
        changed
        | {f"-{name}" for name in before.keys() - after.keys()}
        | {f"+{name}" for name in after.keys() - before.keys()}
    )


@dataclass(frozen=True)
class Change:
    """An edit, and the pieces that change by it: `name`, `+name` (newly reached), `-name` (no longer)."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    expected: frozenset[str]
    files: Mapping[str, str]
    roots: tuple[str, ...]


def change(
    name: str,
    *edits: tuple[str, str, str],
    expected: Iterable[str] = (),
    files: Mapping[str, str] = FILES,
    roots: tuple[str, ...] = ("assets.run:run",),
) -> Change:
    return Change(name, edits, frozenset(expected), files, roots)


def tiny(run: str, **modules: str) -> dict[str, str]:
    """A package of `run.py` and the modules named; `a__b` is `a/b.py`, `a____init__` is `a/__init__.py`."""
    names = {name: re.sub(r"__(?=\w)(?!(init|main)__)|(?<=\w)__(?=__)", "/", name) for name in modules}
    return {"run.py": run} | {f"{names[name]}.py": text for name, text in modules.items()}


FILE = "lib/numbers.py"
IMPORTS_F = "from assets.a import f\ndef run(build):\n    return f()\n"
TWO = "def f():\n    return 1\n\ndef g():\n    return 2\n"
TABLE = "TABLE = {'a': 1}\ndef f():\n    return TABLE\n\ndef g():\n    return 2\n"

REG = "def d(f):\n    return f\nclass C:\n    pass\nclass M(type):\n    pass\n"

TABLE_OF_CHANGES = [
    # what does not count
    change("comment", (FILE, "  # two times", "  # 2 times")),
    change("docstring of a function", (FILE, '"""Twice."""', '"""Doubled."""')),
    change("docstring of a class", (FILE, '"""A shape."""', '"""Another."""')),
    change("docstring of a module", (FILE, '"""Numbers."""', '"""Some."""')),
    change("docstring where there was none", (FILE, "    return inner(x)", '    "Halves."\n    return inner(x)')),
    change("formatting", (FILE, "return 2 * x", "return (\n        2\n        * x\n    )")),
    change("quotes", (FILE, "0.5", "0.50")),
    change("unused helper", (FILE, "    return x\n\n\n@lru", "    return -x\n\n\n@lru")),
    change("unused helper removed", (FILE, "def unused(x):\n    return x\n", "")),
    change("unused class", (FILE, "class Other:\n    pass", "class Other:\n    x = 1")),
    change("unused import", (FILE, "import math\n", "import math\nimport json\n")),
    change("new function", (FILE, "class Other:", "def more():\n    return 1\n\n\nclass Other:")),
    change("order of definitions", (FILE, "RATE = 0.5\n", ""), (FILE, "def unused", "RATE = 0.5\n\n\ndef unused")),
    change("package's __init__, not used", ("lib/__init__.py", "double as twice, ", "")),
    # functions
    change("helper used", (FILE, "2 * x", "3 * x"), expected={f"{N}double"}),
    change("nested function", (FILE, "y * rate", "y / rate"), expected={f"{N}half"}),
    change("default of a parameter", (FILE, "rate=RATE", "rate=1"), expected={f"{N}half"}),
    change("decorator", (FILE, "@lru_cache\n", ""), expected={f"{N}cached"}),
    change("new reference", (FILE, "2 * x", "2 * unused(x)"), expected={f"{N}double", f"+{N}unused"}),
    change("reference dropped", ("run.py", "cached(3)", "3"), expected={"assets.run.run", f"-{N}cached"}),
    change("function becomes a coroutine", (FILE, "def double", "async def double"), expected={f"{N}double"}),
    # constants
    change("constant", (FILE, "RATE = 0.5", "RATE = 0.6"), expected={f"{N}RATE"}),
    change("constant of another kind", (FILE, "PAIR = (1, RATE)", "PAIR = (True, RATE)"), expected={f"{N}PAIR"}),
    change(
        "constant becomes mutable",
        (FILE, "RATE = 0.5", "RATE = [0.5]"),
        expected={"+assets.lib.numbers", *(f"-{name}" for name in REACHED)},
    ),
    change(
        "mutable value",
        ("a.py", "'a': 1", "'a': 2"),
        expected={"assets.a"},
        files=tiny(IMPORTS_F, a=TABLE),
    ),
    change(
        "function beside a mutable value that is used",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files=tiny(IMPORTS_F, a=TABLE),
    ),
    change(
        "mutable value that is not used",
        ("a.py", "'a': 1", "'a': 2"),
        files=tiny(IMPORTS_F.replace("f", "g").replace("gr", "fr").replace("deg", "def"), a=TABLE),
    ),
    # classes
    change("class attribute", (FILE, "factor = 1", "factor = 2"), expected={f"{N}Base"}),
    change("method", (FILE, "x * self.factor", "x + self.factor"), expected={f"{N}Base"}),
    change("field", (FILE, "side: int = 1", "side: int = 2"), expected={f"{N}Shape"}),
    change("annotation of a field", (FILE, "side: int", "side: float"), expected={f"{N}Shape"}),
    change("base class", (FILE, "Shape(Base)", "Shape(Other)"), expected={f"{N}Shape", f"-{N}Base", f"+{N}Other"}),
    change("decorator of a class", (FILE, "frozen=True", "frozen=False"), expected={f"{N}Shape"}),
    # where names come from
    change(
        "import renamed",
        ("run.py", "import half", "import half as halved"),
        ("run.py", "half(1)", "halved(1)"),
        expected={"assets.run.run"},
    ),
    change(
        "import of a library renamed to something else",
        (FILE, "from math import floor as whole", "from math import ceil as whole"),
        expected={f"{N}rounded"},
    ),
    change(
        "aliases exchanged",
        ("run.py", "f as a, g as b", "g as a, f as b"),
        expected={"assets.run.run"},
        files=tiny("from assets.m import f as a, g as b\ndef run():\n    return a() - b()\n", m=TWO),
    ),
    change(
        "aliases exchanged in an __init__",
        ("p/__init__.py", "f as a, g as b", "g as a, f as b"),
        expected={"assets.run.run"},
        files=tiny(
            "from assets.p import a, b\ndef run():\n    return a() - b()\n",
            p____init__="from assets.p.m import f as a, g as b\n",
            p__m=TWO,
        ),
    ),
    change(
        "import inside a function",
        ("m.py", "return 1", "return 3"),
        expected={"assets.m.f"},
        files=tiny("def run():\n    from assets.m import f as g\n    return g()\n", m=TWO),
    ),
    change(
        "import inside a function hides a name of the module",
        ("m.py", "return 1", "return 3"),
        expected={"assets.m.f"},
        files=tiny(
            "def run():\n    g = 1\n    def inner():\n        import assets.m as g\n        return g.f()\n", m=TWO
        ),
    ),
    change(
        "attribute of an imported module",
        ("p/m.py", "return 1", "return 3"),
        expected={"assets.p.m.f"},
        files=tiny("import assets.p.m as c\ndef run():\n    return c.f()\n", p__m=TWO),
    ),
    change(
        "the other attribute of an imported module",
        ("p/m.py", "return 2", "return 3"),
        files=tiny("import assets.p.m\ndef run():\n    return assets.p.m.f()\n", p__m=TWO),
    ),
    change(
        "attribute of a module imported from its package",
        ("p/m.py", "return 1", "return 3"),
        expected={"assets.p.m.f"},
        files=tiny("from assets.p import m\ndef run():\n    return m.f()\n", p__m=TWO),
    ),
    change(
        "relative import",
        ("p/m.py", "return 1", "return 3"),
        ("p/m.py", "return 2", "return 4"),
        expected={"assets.p.m.f", "assets.p.m.g"},
        files=tiny(
            "from .p.q import run\n",
            p__q="from .m import f\nfrom ..p.m import g\ndef run():\n    return f(), g()\n",
            p__m=TWO,
        ),
    ),
    change(
        "attribute named by a literal",
        ("p/m.py", "return 1", "return 3"),
        ("p/m.py", "return 2", "return 4"),
        ("run.py", "None", "0"),
        expected={"assets.p.m.f", "assets.run.run"},
        files=tiny("import assets.p.m as c\ndef run():\n    return getattr(c, 'f', None)()\n", p__m=TWO),
    ),
    change(
        "attribute named by a literal, by a function of the project",
        ("run.py", "def run", "def getattr(*x):\n    return 0\ndef run"),
        expected={"assets.run.run", "+assets.run.getattr"},
        files=tiny("def run(x):\n    return getattr(x, 'f')\n"),
    ),
    change(
        "re-export through __init__",
        (FILE, "2 * x", "3 * x"),
        expected={f"{N}double"},
        files={**FILES, "run.py": "from assets.lib import twice\ndef run():\n    return twice(1)\n"},
    ),
    change(
        "star import",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files=tiny("from assets.a import *\ndef run():\n    return f()\n", a=TWO),
    ),
    change(
        "cyclic imports",
        ("a.py", "return 1", "return 3"),
        expected={"assets.a.f"},
        files=tiny(
            "from assets.b import g\ndef run():\n    return g()\n",
            a="from assets.b import g\ndef f():\n    return 1\ndef h():\n    return g()\n",
            b="from assets.a import f, h\ndef g():\n    return f() + h()\n",
        ),
    ),
    change(
        "only for types",
        ("a.py", "return 1", "return 3"),
        files=tiny(
            """
            from __future__ import annotations
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from assets.a import f
            def run(x: f) -> f:
                return x
            """,
            a=TWO,
        ),
    ),
    change(
        "configuration, errors, progress and declarations",
        *((f"{name}.py", "return 1", "return 3") for name in ("config/x", "errors", "progress", "store/step")),
        files=tiny(
            """
            from assets.config import x
            from assets.config.x import f
            from assets import errors
            from assets.progress import f as p
            from assets.store.step import f as s
            def run(build):
                return x, f, errors.f(), p(), s()
            """,
            config__x=TWO,
            errors=TWO,
            progress=TWO,
            store__step=TWO,
        ),
    ),
    change(
        "future import",
        ("run.py", "from assets.lib", "from __future__ import annotations\nfrom assets.lib"),
        expected={"assets.run.run"},
    ),
    # moved and deleted
    change(
        "function deleted",
        ("a.py", "def f():\n    return 1\n", ""),
        expected={"-assets.a.f", "+assets.a"},
        files=tiny(IMPORTS_F, a=TWO),
    ),
    change(
        "function moved",
        ("run.py", "assets.a", "assets.b"),
        expected={"assets.run.run", "-assets.a.f", "+assets.b.f"},
        files=tiny(IMPORTS_F, a=TWO, b=TWO),
    ),
    change(
        "local name like a function of the module",
        ("run.py", "return 1", "return 3"),
        files=tiny("def rows():\n    return 1\ndef run(build):\n    rows = build\n    return [row for row in rows]\n"),
    ),
    change(
        "nested function named like a function of the module",
        ("run.py", "return 1", "return 3"),
        files=tiny("def rows():\n    return 1\ndef run():\n    def rows():\n        return 2\n    return rows()\n"),
    ),
    change(
        "import inside a function that a nested one may rebind",
        ("m.py", "return 1", "return 3"),
        expected={"assets.m.f"},
        files=tiny(
            """
            def run():
                import assets.m as x
                def inner():
                    nonlocal x
                    x = x.f()
                return inner()
            """,
            m=TWO,
        ),
    ),
    change(
        "function that binds names of its module",
        ("run.py", "return 1", "return 3"),
        expected={"assets.run"},
        files=tiny("def g():\n    return 1\ndef run():\n    global g\n    g = g() + 1\n    return g\n"),
    ),
    change(
        "class with a mutable attribute",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files=tiny("from assets.a import K\ndef run():\n    return K\n", a=f"{TWO}class K:\n    known = []\n"),
    ),
    change(
        "a function hides one that is built in",
        ("run.py", "def run", "def sum(x):\n    return 0\ndef run"),
        expected={"assets.run.run", "+assets.run.sum"},
        files=tiny("def run(build):\n    return sum(build)\n"),
    ),
    # what is not safe by itself
    *(
        change(
            f"unsafe: {name}",
            ("a.py", "return 2", "return 3"),
            expected={"assets.a"},
            files=tiny(IMPORTS_F, a=f"{TWO}{dedent(more)}", reg=REG),
        )
        for name, more in {
            "conditional definition": "if 1:\n    def f():\n        return 4\n",
            "try": "try:\n    import json\nexcept ImportError:\n    json = None\n",
            "call": "print('imported')\n",
            "call in an assignment": "X = open('x')\n",
            "call in a default": "def h(x=open('x')):\n    return x\n",
            "loop": "for x in ():\n    pass\n",
            "changed in place": "f.cache = 1\n",
            "augmented assignment": "X = 1\nX += 1\n",
            "bound twice": "def f():\n    return 5\n",
            "rebound by a function": "def h():\n    global f\n    f = None\n",
            "deleted name": "X = 1\ndel X\n",
            "several names": "X, Y = 1, 2\n",
            "walrus": "X = (Y := 1)\n",
            "decorator of the project": "from assets.reg import d\n@d\ndef h():\n    pass\n",
            "decorator that is not known": "import atexit\n@atexit.register\ndef h():\n    pass\n",
            "decorated method": "from assets.reg import d\nclass K:\n    @d\n    def m(self):\n        pass\n",
            "metaclass": "from assets.reg import M\nclass K(metaclass=M):\n    pass\n",
            "instance of a class of the project": "from assets.reg import C\nX = C()\n",
            "statement in a class": "class K:\n    for x in ():\n        pass\n",
        }.items()
    ),
    *(
        change(
            f"dynamic: {name}",
            ("a.py", "return 2", "return 3"),
            expected={"assets.a"},
            files=tiny(IMPORTS_F, a=f"import importlib, sys, operator\n{TWO}".replace("return 1", f"return {name}")),
        )
        for name in (
            "getattr(f, g.__name__)",
            "getattr(f, '__globals__')",
            "globals()['g']",
            "importlib.import_module('x')",
            "eval('g()')",
            "sys.modules[__name__].g()",
            "f.__globals__['g']",
            "operator.attrgetter('g')(f)",
            "vars(f)",
            "(lambda x: x)(f).__dict__",
        )
    ),
    change(
        "value that is not fixed stands for its module",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files=tiny("from assets.a import X\ndef run():\n    return X\n", a=f"{TWO}X = 'a b'.split()\n"),
    ),
    *(
        change(
            f"fixed value: {value}",
            ("a.py", "return 2", "return 3"),
            files=tiny(
                "from assets.a import X\ndef run():\n    return X\n", a=f"import re\nimport pathlib\n{TWO}X = {value}\n"
            ),
        )
        for value in (
            "re.compile('a')",
            "frozenset({1, 2})",
            "pathlib.Path(__file__).resolve().parent / 'x'",
            "-1",
            "f'{f}'",
            "lambda: f()",
        )
    ),
    change(
        "a module as an object",
        ("p/m.py", "return 2", "return 3"),
        expected={"assets.p.m"},
        files=tiny("from assets.p import m\ndef run():\n    return print(m)\n", p__m=TWO),
    ),
    change(
        "a package as an object",
        ("p/q/m.py", "return 2", "return 3"),
        expected={"assets.p.q.m"},
        files=tiny("from assets import p\ndef run():\n    return print(p)\n", p__q__m=TWO),
    ),
    change(
        "a module that a whole module imports",
        ("b.py", "return 2", "return 3"),
        expected={"assets.b"},
        files=tiny("def run():\n    return vars()\nfrom assets import b\n", b=TWO),
    ),
    change(
        "import that may fail",
        ("b.py", "return 1", "return 3"),
        expected={"assets.b.f"},
        files=tiny(
            "try:\n    from assets.b import f\nexcept ImportError:\n    f = None\ndef run():\n    return f()\n", b=TWO
        ),
    ),
    change(
        "module imported for what it does",
        ("effects.py", "= 2", "= 3"),
        expected={"assets.effects"},
        files=tiny(
            "import assets.between\nfrom assets.a import f\ndef run():\n    return f()\n",
            between="from assets import effects\ndef unused():\n    return 1\n",
            effects="import assets.a\nassets.a.f.x = 2\n",
            a=TWO,
        ),
    ),
    change(
        "module imported for what it does, inside a function",
        ("effects.py", "= 2", "= 3"),
        expected={"assets.effects"},
        files=tiny(
            "from assets.a import f\ndef run():\n    from assets import effects\n    return f()\n",
            effects="import assets.a\nassets.a.f.x = 2\n",
            a=TWO,
        ),
    ),
    change(
        "an __init__ that does something",
        ("p/__init__.py", "= 2", "= 3"),
        expected={"assets.p"},
        files=tiny(
            "from assets.p.m import f\ndef run():\n    return f()\n", p____init__="import math\nmath.pi = 2\n", p__m=TWO
        ),
    ),
    change(
        "class that acts on derived classes",
        ("b.py", "x = 1", "x = 2"),
        expected={"assets.b"},
        files=tiny(
            "import assets.b\nfrom assets.a import A\ndef run():\n    return A.known\n",
            a="class A:\n    known = ()\n    def __init_subclass__(cls):\n        A.known += (cls,)\n",
            b="from assets.a import A\nclass B(A):\n    x = 1\n",
        ),
    ),
    change(
        "derived classes looked up",
        ("b.py", "x = 1", "x = 2"),
        expected={"assets.b"},
        files=tiny(
            "import assets.b\nfrom assets.q import f\ndef run():\n    return f()\n",
            a="class A:\n    pass\n",
            q="from assets.a import A\ndef f():\n    return A.__subclasses__()\n",
            b="from assets.a import A\nclass B(A):\n    x = 1\n",
        ),
    ),
    # strings
    change(
        "name of a function in a string",
        ("a.py", "return 1", "return 3"),
        expected={"assets.a.f"},
        files=tiny("def run(build):\n    return build.part('assets.a:f', {}, {}, ())\n", a=TWO),
    ),
    change(
        "name of a function in a string, the other function",
        ("a.py", "return 2", "return 3"),
        files=tiny("def run(build):\n    return build.part('assets.a:f', {}, {}, ())\n", a=TWO),
    ),
    change(
        "dotted name of a function in a string",
        ("a.py", "return 1", "return 3"),
        expected={"assets.a.f"},
        files=tiny("def run():\n    return 'assets.a.f'\n", a=TWO),
    ),
    change(
        "name of a program in a string",
        ("p/__main__.py", "return 2", "return 3"),
        expected={"assets.p.__main__"},
        files=tiny("def run():\n    return ['-m', 'assets.p']\n", p____main__=TWO),
    ),
    change(
        "name of a module in a constant",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files=tiny("NAME = 'assets.a'\ndef run():\n    return NAME\n", a=TWO),
    ),
    change(
        "template",
        ("p/templates/page.html.j2", "Hello", "Hi"),
        expected={"path:p/templates/page.html.j2"},
        files={
            **tiny("def run():\n    return 'page.html.j2'\n"),
            "p/templates/page.html.j2": "Hello",
            "p/other.j2": "x",
        },
    ),
    change(
        "template that a template includes",
        ("p/base.html.j2", "Hello", "Hi"),
        expected={"path:p/base.html.j2"},
        files={
            **tiny("def run():\n    return 'page.html.j2'\n"),
            "p/page.html.j2": "{% include 'base.html.j2' %}",
            "p/base.html.j2": "Hello",
        },
    ),
    change(
        "folder of templates",
        ("p/templates/deep/page.j2", "Hello", "Hi"),
        expected={"path:p/templates/deep/page.j2"},
        files={**tiny("def run():\n    return 'templates'\n", p__m=""), "p/templates/deep/page.j2": "Hello"},
    ),
    change(
        "template that nobody names",
        ("p/page.j2", "Hello", "Hi"),
        files={**tiny("def run():\n    return 'p'\n", p__m=""), "p/page.j2": "Hello"},
    ),
    change(
        "function beside a module of the same name",
        ("a/__init__.py", "return 1", "return 3"),
        expected={"assets.a:f"},
        files=tiny("from assets.a import f\ndef run():\n    return f()\n", a____init__=TWO, a__f=TWO),
    ),
    change(
        "module beside a function of the same name",
        ("a/f.py", "return 1", "return 3"),
        expected={"assets.a.f"},
        files=tiny("from assets.a import f\ndef run():\n    return f()\n", a____init__=TWO, a__f=TWO),
    ),
    # roots
    change(
        "data file as a root", ("x.txt", "1", "2"), expected={"path:x.txt"}, files={"x.txt": "1"}, roots=("path:x.txt",)
    ),
    change(
        "module as a root",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a"},
        files={"a.py": TWO},
        roots=("assets.a",),
    ),
    change(
        "method as a root",
        ("a.py", "return 2", "return 3"),
        expected={"assets.a.A"},
        files={"a.py": "class A:\n    def f(self):\n        return 2\n"},
        roots=("assets.a:A.f",),
    ),
    change(
        "one root of several",
        ("b.py", "return 1", "return 3"),
        expected={"assets.b.f"},
        files={"a.py": TWO, "b.py": TWO},
        roots=("assets.a:f", "assets.b:f"),
    ),
]


@pytest.mark.parametrize("case", TABLE_OF_CHANGES, ids=lambda case: case.name)
def test_a_change_makes_exactly_these_pieces_differ(case: Change, tmp_path: Path) -> None:
    files = {name: dedent(text) for name, text in case.files.items()}
    before = code_pieces(case.roots, write(tmp_path / "before", files))
    for name, old, new in case.edits:
        assert files[name].count(old) >= 1, (name, old)
        files[name] = files[name].replace(old, new, 1)
    for text in (text for name, text in files.items() if name.endswith(".py")):
        ast.parse(text)
    after = code_pieces(case.roots, write(tmp_path / "after", files))
    assert changes(before, after) == case.expected
    assert (code_digest(before) == code_digest(after)) == (not case.expected)


def test_exactly_what_is_reached_is_named(tmp_path: Path) -> None:
    pieces = code_pieces(["assets.run:run"], write(tmp_path, FILES))
    assert set(pieces) == REACHED | {"assets.run.run"}
    assert list(pieces) == sorted(pieces)
    assert all(len(digest) == 16 and set(digest) <= set("0123456789abcdef") for digest in pieces.values())


def test_a_module_that_is_not_there_is_named_with_zeros(tmp_path: Path) -> None:
    package = write(tmp_path, tiny("def run():\n    from assets.gone import f\n    return f()\n"))
    assert code_pieces(["assets.run:run"], package)["assets.gone"] == "0" * 16


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("assets.lib.numbers:doubel", "assets.lib.numbers defines no doubel\n  fix: did you mean double?"),
        ("assets.lib.number:double", "assets.lib.number is no module of .*did you mean assets.lib.numbers"),
        ("json:dumps", "json is no module of .*write module:function, module or path:FILE"),
        ("path:lib/x.j2", "there is no file lib/x.j2"),
        ("assets.config.x", "assets.config.x is no module of .* that counts"),
    ],
)
def test_an_unknown_root_is_refused(root: str, message: str, tmp_path: Path) -> None:
    package = write(tmp_path, {**FILES, "config/x.py": TWO})
    with pytest.raises(ConfigurationError, match=f"(?s)code root '{root}': {message}"):
        code_pieces([root], package)


def test_a_file_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    package = write(tmp_path, tiny(IMPORTS_F, a="def f():\n    return (\n"))
    with pytest.raises(ConfigurationError, match=r"assets/a\.py:2: cannot be parsed"):
        code_pieces(["assets.run:run"], package)


def test_nothing_is_imported(tmp_path: Path) -> None:
    package = write(tmp_path, tiny("raise RuntimeError('imported')\ndef run():\n    pass\n"))
    assert set(code_pieces(["assets.run:run"], package)) == {"assets.run"}


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    package = write(tmp_path, tiny("def run():\n    return 1\n"))
    before = code_pieces(["assets.run:run"], package)
    (package / "run.py").write_text("def run():\n    return 22\n")
    assert changes(before, code_pieces(["assets.run:run"], package)) == {"assets.run.run"}


def test_the_order_of_roots_does_not_matter(tmp_path: Path) -> None:
    package = write(tmp_path, FILES)
    roots = ["assets.run:run", "assets.lib", "assets.lib.numbers:unused"]
    assert code_pieces(roots, package) == code_pieces(roots[::-1], package)


SOURCES = sorted((REPOSITORY / "assets" / "store").glob("*.py"))


@st.composite
def reformatted(draw: st.DrawFn) -> tuple[str, str]:
    """A module of the project, and the same written by `ast.unparse` with comments and blank lines here and there."""
    source = draw(st.sampled_from(SOURCES)).read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines: list[str] = []
    for node in tree.body:
        lines += draw(
            st.lists(st.sampled_from(["", "# a comment", "    # indented", "pass", "'a constant'"]), max_size=2)
        )
        lines.append(ast.unparse(node))
        lines[-1] += draw(st.sampled_from(["", "  # behind", "\n\n\n"]))
    return source, "\n".join(line.replace("    # indented", "# not indented") for line in lines)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(reformatted())
def test_layout_and_comments_never_count(pair: tuple[str, str]) -> None:
    def forms(source: str) -> list[str]:
        useful = (node for node in ast.parse(source).body if not isinstance(node, ast.Pass))
        return [
            read_statement(n, "p").form
            for n in useful
            if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
        ]

    before, after = map(forms, pair)
    assert before == after


SNIPPET = '''
from __future__ import annotations
import os.path as p
@decorate(1, key="ä\\N{SNOWMAN}\U0001fae8")
async def f(a, /, b: int = 1, *args, c=None, **kw) -> "str":
    """Doc."""
    async with a as (x, y), b:
        global g
        for i, *j in [k async for k in a if k if not None]:
            try:
                yield f"{i!r:>{b}} {{}} {x=} {y:}" "tail"
            except* (A, B) as e:
                raise C from e
            else:
                pass
    match a:
        case {"k": [1, *rest], **other} | K(v=None) if rest:
            return lambda *z, q=-1.5e300: (z, {**kw, 1j: ...}, {*z}, x[1:2, ::3], 0xFF, 1_000, True)
    del x, y.z
    while (n := g()) is not None and a <= b != c:
        n @= 2
        assert n, "message"
'''
FORM = "77bc229479d653b1 c4991881706309a7 ade71b7cc0977348"


def _form() -> str:
    statements = ast.parse(SNIPPET).body
    return " ".join(read_statement(node, "p.q").form[:16] for node in statements)


def test_the_canonical_form_is_the_same_on_every_version_of_python() -> None:
    assert _form() == FORM


def test_the_canonical_form_tells_apart_what_differs() -> None:
    sources = [
        "1",
        "True",
        "1.0",
        "'1'",
        "b'1'",
        "None",
        "...",
        "-1",
        "a",
        "a.b",
        "a.b()",
        "(1,)",
        "[1]",
        "{1}",
        "{1: 1}",
    ]
    sources += [
        "{**a}",
        "{'a': 1}",
        "f'1'",
        "f'{a}'",
        "f'{a!r}'",
        "f'{a:1}'",
        "f'{a}1'",
        "f'1{a}'",
        "'a,1:b'",
        "('a', 'b')",
    ]
    sources += [
        "lambda: a",
        "lambda a: a",
        "lambda *a: a",
        "lambda a=1: a",
        "lambda *, a=1: a",
        "lambda *, a: a",
        "a[1]",
        "a[1:]",
    ]
    sources += ["a[:1]", "a < b", "a > b", "a < b < c", "a and b", "a or b", "not a", "a if b else c", "[a for a in b]"]
    sources += [
        "[a for a in b if c]",
        "[a async for a in b]",
        "(a for a in b)",
        "{a for a in b}",
        "{a: a for a in b}",
        "await a",
    ]
    forms = [read_statement(ast.parse(f"async def x():\n    y = {source}").body[0], "").form for source in sources]
    assert len(set(forms)) == len(sources)


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_versions_of_python_agree(version: str) -> None:
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python"))
    if not found or sys.version_info[:2] == tuple(map(int, version.split("."))):
        pytest.skip(f"no Python {version} beside this one")
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nimport json\n"
    program += "from assets.store.code import code_pieces\n"
    program += "print(json.dumps(code_pieces(['assets.store.code', 'assets.store.plan'])))"
    output = subprocess.run([found[-1], "-c", program], capture_output=True, text=True, check=True).stdout
    expected = code_pieces(["assets.store.code", "assets.store.plan"])
    assert output.strip().replace('"', "'") == str(expected)


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "assets").rglob("__init__.py")), ids=lambda file: file.parent.name
)
def test_an_init_of_the_project_only_declares(file: Path) -> None:
    """Else the declaration of a step would be part of the code of every step that imports something of its room."""
    name = ".".join(file.parent.relative_to(REPOSITORY).parts)
    assert not Module(name, name, ast.parse(file.read_bytes()), rebinds=False).effects
