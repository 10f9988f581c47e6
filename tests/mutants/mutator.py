"""Make the mutants of a contract's source: each lacks one check, one part of a condition or one remembered effect."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vyper import ast
from vyper.ast import parse_to_ast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How the names of what a body calls begin when it does nothing but refuse.
REFUSALS = ("_refuse", "raw_revert")
BOUNDARIES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
OPPOSITES = {"==": "!=", "!=": "=="}
COMPARISON = re.compile(rb"<=|>=|==|!=|<|>")
REENTRANCY = re.compile(rb"^# pragma nonreentrancy on$", re.MULTILINE)
REASON = re.compile(r'"([^"]*[a-z][^"]*)"')
DELETED = "pass"
STATEMENTS = (ast.Assert, ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Log)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one source. `start` and `end` count its bytes; `line` counts from 1."""

    file: str
    function: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The source with the change made."""
        encoded = source.encode()
        return (encoded[: self.start] + self.after.encode() + encoded[self.end :]).decode()

    @property
    def is_deletion(self) -> bool:
        """Whether a whole check or remembered effect is gone, not only weakened."""
        return self.after == DELETED

    @property
    def reasons(self) -> tuple[str, ...]:
        """What a contract says there when it refuses, without its own name."""
        return tuple(text.rpartition(": ")[2] for text in REASON.findall(self.before))

    @property
    def change(self) -> str:
        """What becomes what, in one line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{before} -> {after}"

    def __str__(self) -> str:
        """Where, and what becomes what, in one line."""
        return f"{self.file}:{self.line} {self.function}: {self.change}"


def mutants_of(source: str, file: str) -> list[Mutant]:
    """Every mutant of a source, in its order, none twice.

    Args:
        source: Vyper source text.
        file: Its name, for the mutants to carry.

    Raises:
        vyper.exceptions.VyperException: The source is no Vyper.
    """
    text = _Text(source)
    found: dict[tuple[int, int, str], Mutant] = {}
    for function, span, after in _changes(text):
        start, end = span
        if text[span] != after:
            before = text[span]
            line = text.line_of(start)
            found.setdefault((start, end, after), Mutant(file, function, line, start, end, before, after))
    return sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end))


Span = tuple[int, int]
Change = tuple[Span, str]


@dataclass(slots=True)
class _Text:
    """A source by the byte offsets that its syntax tree speaks of."""

    source: str
    encoded: bytes = field(init=False)
    lines: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.encoded = self.source.encode()
        self.lines = [0]
        for line in self.encoded.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def __getitem__(self, span: Span) -> str:
        return self.encoded[slice(*span)].decode()

    def line_of(self, offset: int) -> int:
        """Number of the line that an offset is in."""
        return self.encoded.count(b"\n", 0, offset) + 1

    def span(self, node: Any) -> Span:
        """Where a node stands, without parentheses around it."""
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: Any) -> str:
        """A node's text, to be put anywhere."""
        text = self[self.span(node)]
        return text if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Int) else f"({text})"


def _changes(text: _Text) -> Iterator[tuple[str, Span, str]]:
    """Every change with the function that it is in; some more than once, some without effect."""
    for match in REENTRANCY.finditer(text.encoded):
        yield "module", match.span(), "#"
    for function in parse_to_ast(text.source).get_children(ast.FunctionDef):
        for node in function.get_descendants():
            # The parser's offsets inside a `log` statement are off, and nothing in one is a check.
            if node.get_ancestor(ast.Log) or _is_type(node.get_ancestor(ast.Subscript)):
                continue
            if isinstance(node, STATEMENTS) or _is_deletable(node):
                yield function.name, text.span(node), DELETED
            for kind, changes in _EXPRESSIONS.items():
                if isinstance(node, kind):
                    for span, after in changes(text, node):
                        yield function.name, span, after


def _is_type(node: Any) -> bool:
    """Whether a subscript is the length of a type."""
    return node is not None and getattr(node.value, "id", "") in {"Bytes", "DynArray", "String"}


def _is_deletable(node: Any) -> bool:
    """Whether a statement other than `STATEMENTS` goes as a whole."""
    if isinstance(node, ast.If):
        return _is_refusal(node)
    if isinstance(node, ast.Return):
        return node.value is None
    # A refusal's only statement goes with its condition; without its modules' constructors nothing compiles.
    if _is_refusal(node._parent) or (isinstance(node, ast.Expr) and _called(node.value) in {"", "__init__"}):
        return False
    return isinstance(node, ast.Expr | ast.Raise)


def _is_refusal(node: Any) -> bool:
    """Whether a node is an `if` that does nothing but refuse."""
    if not isinstance(node, ast.If) or node.orelse or len(node.body) != 1:
        return False
    statement = node.body[0]
    return isinstance(statement, ast.Raise) or (
        isinstance(statement, ast.Expr) and _called(statement.value).startswith(REFUSALS)
    )


def _called(node: Any) -> str:
    """The last part of the name of what a node calls; empty if it is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _branches(text: _Text, node: Any) -> Iterator[Change]:
    """Take a branch always, or never."""
    if not _is_refusal(node):
        for value in ("True", "False"):
            yield text.span(node.test), value


def _choices(text: _Text, node: Any) -> Iterator[Change]:
    """Take one side of a conditional expression always."""
    yield text.span(node), text.of(node.body)
    yield text.span(node), text.of(node.orelse)


def _operands(text: _Text, node: Any) -> Iterator[Change]:
    """Leave out each operand of `and` and `or`."""
    word = " and " if isinstance(node.op, ast.And) else " or "
    for index in range(len(node.values)):
        rest = [text.of(value) for place, value in enumerate(node.values) if place != index]
        yield text.span(node), f"({word.join(rest)})"


def _comparisons(text: _Text, node: Any) -> Iterator[Change]:
    """Move a boundary by one; turn an equality around where leaving the statement out does not say the same."""
    start = text.span(node.left)[1]
    match = COMPARISON.search(text.encoded, start, text.span(node.right)[0])
    operator = match[0].decode()
    if operator in BOUNDARIES:
        yield match.span(), BOUNDARIES[operator]
    elif node.get_ancestor(ast.Return) or isinstance(node.left, ast.Compare):
        yield match.span(), OPPOSITES[operator]


def _arithmetic(text: _Text, node: Any) -> Iterator[Change]:
    """Leave out an operand: a mask, a shift, a packed field, a term."""
    yield text.span(node), text.of(node.left)
    if isinstance(node.op, ast.BitOr) and not _is_or(node.left):
        yield text.span(node), text.of(node.right)


def _is_or(node: Any) -> bool:
    """Whether a node packs fields, so that leaving out one of its own says enough."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def _arguments(text: _Text, node: Any) -> Iterator[Change]:
    """Leave out a side of `min` and `max`, an operand, a field that a hash binds, a conversion that may fail."""
    name = _called(node)
    if name in {"min", "max"}:
        for argument in node.args:
            yield text.span(node), text.of(argument)
    if name == "abi_encode" and len(node.args) > 1:
        for index in range(len(node.args)):
            rest = [text[text.span(value)] for place, value in enumerate(node.args) if place != index]
            yield text.span(node), f"abi_encode({', '.join(rest)})"
    if name.startswith("unsafe_"):
        yield text.span(node), text.of(node.args[0])
    if name == "convert" and _called(node.args[0]) == "convert":
        yield text.span(node), text.of(node.args[0].args[0])


_EXPRESSIONS: dict[Any, Callable[[_Text, Any], Iterator[Change]]] = {
    ast.If: _branches,
    ast.IfExp: _choices,
    ast.BoolOp: _operands,
    ast.Compare: _comparisons,
    ast.BinOp: _arithmetic,
    ast.Call: _arguments,
}
