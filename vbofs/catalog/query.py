"""What people look for, as a value: ``Query``.  Pure, and without pandas, so it costs nothing.

``FACETS`` is the one table of the questions that people ask and of the columns that answer them,
in whatever dataset: the options of ``vbofs find`` and the views of a mount are made of it.  A
``where`` is checked here, before pandas sees it: names of columns, values, comparisons and
arithmetic, and nothing that could run code.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import QueryInvalid

#: Characters and nodes of a ``where``.
MAX_WHERE = 4000
MAX_NODES = 500


def _driver(genotype: str) -> str:
    """Sst-IRES-Cre/wt;Ai148(…)/wt → Sst-IRES-Cre, which is what the cre_line of a genotype is."""
    return genotype.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Facet:
    """A question, and the columns that answer it: the first that a table has, or for ids *every*
    one that it has.  *shown* makes the answer of what stands in a column that is not the first."""

    columns: tuple[str, ...]
    every: bool = False
    shown: Callable[[str], str] | None = None

    def of(self, present: Iterable[str]) -> list[str]:
        """Those of the columns *present* that answer."""
        known = set(present)
        found = [column for column in self.columns if column in known]
        return found if self.every else found[:1]

    def answer(self, column: str, value: str) -> str:
        """What *value* in *column* answers."""
        return self.shown(value) if self.shown and column != self.columns[0] else value


FACETS = {
    "mouse": Facet(("mouse_id",)),
    "cre_line": Facet(("cre_line", "genotype"), shown=_driver),
    "session_type": Facet(("session_type",)),
    "experience_level": Facet(("experience_level",)),
    "structure": Facet(("targeted_structure", "structure_acronyms", "structure_acronym")),
    "container": Facet(("ophys_container_id",)),
    "session_id": Facet(
        ("behavior_session_id", "ophys_session_id", "ecephys_session_id"), every=True
    ),
    "experiment_id": Facet(("ophys_experiment_id",)),
    "depth": Facet(("imaging_depth", "targeted_imaging_depth")),
}


@dataclass(frozen=True)
class Query:
    """What is looked for; several values of one kind are alternatives, kinds are joined by *and*.

    Values are text as the tables have it, and may hold ``*`` and ``?``.  *depth* is in µm, both
    ends included.  *where* is an expression over columns, in pandas' syntax.  *table* names the
    table whose rows are asked; "" asks the files, each with the row that describes it.
    QueryInvalid if *where* or *depth* cannot be meant.
    """

    mouse: tuple[str, ...] = ()
    cre_line: tuple[str, ...] = ()
    session_type: tuple[str, ...] = ()
    experience_level: tuple[str, ...] = ()
    structure: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    experiment_id: tuple[str, ...] = ()
    depth: tuple[float, float] | None = None
    where: str = ""
    table: str = ""
    names: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.depth is not None and not self.depth[0] <= self.depth[1]:
            raise QueryInvalid("--depth: the first number is greater than the second")
        object.__setattr__(self, "names", checked_names(self.where) if self.where else ())

    def __bool__(self) -> bool:
        """Whether anything is asked at all; an empty query means every file."""
        return self != Query(table=self.table)

    @property
    def wanted(self) -> dict[str, tuple[str, ...]]:
        """The facets that are asked for by value, and the values."""
        asked = {name: getattr(self, name) for name in FACETS if name != "depth"}
        return {name: values for name, values in asked.items() if values}


#: Names, values, comparisons, arithmetic that cannot explode.  No call, attribute, subscript,
#: power, shift or comprehension.
_ALLOWED = (
    *(ast.Expression, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Name, ast.Constant),
    *(ast.List, ast.Tuple, ast.Load, ast.boolop, ast.cmpop, ast.unaryop),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr),
)
_REFUSED = {
    ast.Call: "calls are",
    ast.Attribute: "attributes are",
    ast.MatMult: "@ is",
    ast.Pow: "** is",
    ast.Subscript: "[…] after a name is",
}


def checked_names(where: str) -> tuple[str, ...]:
    """The columns that the expression *where* names, in order.  QueryInvalid unless it is harmless:
    it can only compare columns and values."""
    text = where.strip()
    if len(text) > MAX_WHERE:
        raise QueryInvalid(f"--where: it has more than {MAX_WHERE} characters")
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = " @ is not allowed;" if "@" in text else ""
        raise QueryInvalid(
            f'--where: {text[:200]!r} is no expression;{why} write "imaging_depth < 200'
            " and session_type == 'OPHYS_1_images_A'\""
        ) from error
    if len(nodes) > MAX_NODES:
        raise QueryInvalid("--where: it is too long")
    for node in nodes:
        _check(node)
    names = [node for node in nodes if isinstance(node, ast.Name)]
    return tuple(dict.fromkeys(node.id for node in sorted(names, key=lambda n: n.col_offset)))


def _check(node: ast.AST) -> None:
    if not isinstance(node, _ALLOWED):
        what = _REFUSED.get(type(node), f"{type(node).__name__} is")
        raise QueryInvalid(
            f"--where: {what} not allowed; compare columns with values, with and, or, not, in"
        )
    if isinstance(node, ast.BinOp) and not (_is_number(node.left) and _is_number(node.right)):
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            raise QueryInvalid("--where: write 'and' for &, and 'or' for |")
        raise QueryInvalid("--where: only numbers can be calculated with")
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        raise QueryInvalid(f"--where: {node.id!r} is not the name of a column")
    if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None):
        raise QueryInvalid(f"--where: {node.value!r} is not a value that a table has")


def _is_number(node: ast.expr) -> bool:
    """Whether it may be one: 'x' * 10**9 is a gigabyte."""
    return not isinstance(node, ast.List | ast.Tuple) and _kind(node) is not str


class Uses(NamedTuple):
    """Columns by what a ``where`` does with them: compares them with bare numbers or with quoted
    text, or calculates with them."""

    numbers: set[str]
    texts: set[str]
    calculated: set[str]


def uses(where: str) -> Uses:
    """What a checked *where* does with the columns that it names."""
    found = Uses(set(), set(), set())
    for node in ast.walk(ast.parse(where.strip(), mode="eval")):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            kinds = {_kind(side) for side in sides}
            if float in kinds:
                found.numbers.update(_names(*sides))
            if str in kinds:
                found.texts.update(_names(*sides))
        elif isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitAnd | ast.BitOr):
            found.calculated.update(_names(node.left, node.right))
    return found


def _names(*nodes: ast.expr) -> list[str]:
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def _kind(node: ast.expr) -> type:
    """float for a number or a list of them, str for text; another type for anything else."""
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return _kind(node.elts[0])
    if isinstance(node, ast.Constant):
        # True is an int in Python, and a word of its own in a table.
        return float if type(node.value) in (int, float) else type(node.value)
    return object


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or "" where nothing is near."""
    words = list(known)
    lower = {each.lower(): each for each in words}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""
