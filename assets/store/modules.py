"""What is at module level: which statements define something that can count by itself, and which do more.

A module that does more than define while it is imported has `effects` and can only count as a whole. Annotations are
taken to have none.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable

from assets.store.syntax import Function, Origin, Statement, bindings, dotted, executed, read_statement, says_nothing

NOT_FOLLOWED = ("assets.config", "assets.errors", "assets.progress", "assets.store.step")
"""Modules (and what is below them) that never count: a step takes plain arguments, and neither the words of an error,
nor what is said about progress, nor the declaration of a step alters a result."""

HARMLESS = frozenset(
    """
    bool bytes classmethod dict float frozenset int len list max min property range round set slice sorted staticmethod
    str sum tuple
    abc.abstractmethod collections.namedtuple contextlib.asynccontextmanager contextlib.contextmanager
    dataclasses.dataclass dataclasses.field datetime.date datetime.datetime datetime.timedelta datetime.timezone
    decimal.Decimal enum.auto enum.unique fractions.Fraction functools.cache functools.cached_property
    functools.lru_cache functools.partial functools.total_ordering functools.wraps importlib.metadata.version
    logging.getLogger math.exp math.log math.pi math.sqrt pathlib.Path pathlib.PurePath pathlib.PurePosixPath re.compile
    string.Template struct.Struct types.MappingProxyType typing.NewType typing.ParamSpec typing.TypeVar typing.cast
    typing.final typing.overload typing.runtime_checkable
    pyarrow.binary pyarrow.bool_ pyarrow.dictionary pyarrow.field pyarrow.float32 pyarrow.float64 pyarrow.int32
    pyarrow.int64 pyarrow.large_string pyarrow.list_ pyarrow.schema pyarrow.string pyarrow.struct pyarrow.timestamp
    pydantic.AfterValidator pydantic.BeforeValidator pydantic.ConfigDict pydantic.Field pydantic.field_validator
    pydantic.model_validator
    numpy.dtype torch.inference_mode torch.no_grad
    """.split()  # noqa: SIM905 - one word a line would fill two pages
)
"""What may be called, or decorate, while a module is imported: it acts on nothing but the value that it returns. Any
other call at module level makes the whole module count."""

_FIXED = (ast.Constant, ast.JoinedStr, ast.Lambda, ast.Name, ast.Attribute, ast.Subscript, ast.Compare)
_MUTABLE_RESULTS = frozenset({"dict", "list", "set", "sorted"})


def followed(module: str) -> bool:
    """Whether code in the module can count."""
    return not any(module == stop or module.startswith(f"{stop}.") for stop in NOT_FOLLOWED)


class Module:
    """The statements of one module, and which of them can count by themselves.

    Attributes:
        name: dotted name.
        package: what its relative imports start at.
        nodes: statements that execute and say something.
        definitions: functions, classes and values that can count by themselves.
        imports: names that an import binds, and only that.
        names: every name that it is known to bind.
        unsafe: names that are bound more than once, rebound by a function, or hold something mutable.
        effects: whether importing it does more than define: then it counts as a whole, wherever it is imported.
        executes: modules that importing it executes, perhaps.
        hooks: whether a class of it acts when it is derived from (`__init_subclass__`, a metaclass).
        derives: whether a class of it has a base class.
    """

    def __init__(self, name: str, package: str, tree: ast.Module, rebinds: bool) -> None:
        self.name, self.package = name, package
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, Origin] = {}
        self.unsafe: set[str] = set()
        self.effects = self.hooks = self.derives = False
        self.executes: set[str] = set()
        self._futures = ""
        self._statements: dict[ast.stmt, Statement] = {}
        self._bind_imports(tree.body)
        self.nodes = [node for node in tree.body if not says_nothing(node) and not self._only_for_types(node)]
        for node in self.nodes:
            self._bind(node)
        if rebinds:
            self.unsafe.update(name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names)
        self.names = {*self.definitions, *self.imports, *self.unsafe}

    def statement(self, node: ast.stmt) -> Statement:
        """What one of its statements says."""
        if node not in self._statements:
            self._statements[node] = read_statement(node, self.package)
        return self._statements[node]

    def digest(self, nodes: Iterable[ast.stmt], targets: Iterable[str]) -> str:
        """Digest of statements together with what their names stand for: `f` may come to mean another function."""
        text = "\n".join([self._futures, *(self.statement(node).form for node in nodes), *sorted(targets)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _bind_imports(self, body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                self._futures += ",".join(sorted(alias.name for alias in node.names))
                continue
            self.executes.update(executed(node, self.package))
            for name, origin in bindings(node, self.package):
                self.effects = self.effects or name == "*"
                if self.imports.setdefault(name, origin) != origin:
                    self.unsafe.add(name)

    def _bind(self, node: ast.stmt) -> None:
        match node:
            case ast.Import() | ast.ImportFrom():
                return
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                harmless, fixed = self._defines_only(node), True
            case ast.ClassDef(name=name):
                harmless, fixed = self._class_defines_only(node), self._class_is_fixed(node)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                harmless, fixed = self._is_harmless(value), self._is_fixed(value)
            case ast.AnnAssign(target=ast.Name(), value=None):
                return
            case _:
                self.effects = True
                return
        self.effects = self.effects or not harmless
        if not fixed or name in self.definitions or name in self.imports:
            self.unsafe.add(name)
        self.definitions[name] = node

    def _only_for_types(self, node: ast.stmt) -> bool:
        if not isinstance(node, ast.If) or node.orelse:
            return False
        return self._origin(dotted(node.test) or "") == "typing.TYPE_CHECKING"

    def _origin(self, chain: str) -> str:
        """What a chain of names stands for, written in full."""
        first, _, rest = chain.partition(".")
        source, name = self.imports.get(first, ("", first))
        return ".".join(part for part in (source, name, rest) if part)

    def _may_be_called(self, function: ast.expr) -> bool:
        chain = dotted(function)
        if chain is None:  # a method of what was just made: `Path(__file__).resolve()`, `"a b".split()`
            node: ast.AST = function
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            return isinstance(node, ast.Call | ast.Constant) and node is not function
        origin = self._origin(chain)
        return (origin in HARMLESS and chain.partition(".")[0] not in self.definitions) or not followed(origin)

    def _is_harmless(self, *expressions: ast.expr | None) -> bool:
        """Whether evaluating the expressions acts on nothing but their value."""
        pending: list[ast.AST] = [expression for expression in expressions if expression]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
                return False
            if isinstance(node, ast.Call) and not self._may_be_called(node.func):
                return False
            pending.extend(ast.iter_child_nodes(node) if not isinstance(node, ast.Lambda) else ())
        return True

    def _is_fixed(self, value: ast.expr) -> bool:
        """Whether the value can never be changed in place, as far as can be seen."""
        match value:
            case ast.Tuple(elts=parts) | ast.BoolOp(values=parts):
                return all(self._is_fixed(part) for part in parts)
            case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
                return self._is_fixed(left) and self._is_fixed(right)
            case ast.UnaryOp(operand=part) | ast.Starred(value=part):
                return self._is_fixed(part)
            case ast.Call(func=function):
                chain = dotted(function)
                return chain is not None and self._origin(chain) not in _MUTABLE_RESULTS
            case _:
                return isinstance(value, _FIXED)

    def _defines_only(self, node: Function) -> bool:
        arguments = node.args
        expressions = [*arguments.defaults, *arguments.kw_defaults]
        return self._is_harmless(*expressions) and all(
            self._may_decorate(decorator) for decorator in node.decorator_list
        )

    def _may_decorate(self, decorator: ast.expr) -> bool:
        if isinstance(decorator, ast.Attribute) and decorator.attr in {"setter", "getter", "deleter"}:
            return True
        called = isinstance(decorator, ast.Call)
        return self._is_harmless(decorator) if called else self._may_be_called(decorator)

    def _class_defines_only(self, node: ast.ClassDef) -> bool:
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        metaclass = keywords.get("metaclass")
        own_metaclass = metaclass is not None and self._origin(dotted(metaclass) or "") != "abc.ABCMeta"
        methods = {part.name for part in node.body if isinstance(part, Function)}
        self.hooks = self.hooks or own_metaclass or bool(methods & {"__init_subclass__", "__pydantic_init_subclass__"})
        self.derives = self.derives or bool(node.bases)
        if own_metaclass or not self._is_harmless(*node.bases, *keywords.values()):
            return False
        return all(map(self._may_decorate, node.decorator_list)) and all(map(self._only_defines, node.body))

    def _only_defines(self, node: ast.stmt) -> bool:
        """Whether a statement of a class does no more than add to the class."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._defines_only(node)
            case ast.ClassDef():
                return self._class_defines_only(node)
            case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(target=ast.Name(), value=value):
                return self._is_harmless(value)
            case _:
                return says_nothing(node)

    def _class_is_fixed(self, node: ast.ClassDef) -> bool:
        values = [part.value for part in node.body if isinstance(part, ast.Assign | ast.AnnAssign)]
        return all(self._is_fixed(value) for value in values if value)
