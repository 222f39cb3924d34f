"""Every sentence of docs/SEMANTICS.md has its test: tests/semantics.toml says which."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
PROOFS = tomllib.loads((HERE / "tests/semantics.toml").read_text())
#: A sentence ends with a full stop before a capital, a backtick or the end; "e.g." never occurs.
_END = re.compile(r"(?<=\.)\s+(?=[A-Z`*(])")


def _promises():
    """Every sentence, with the bold word of its paragraph."""
    for paragraph in (HERE / "docs/SEMANTICS.md").read_text().split("\n\n")[1:]:
        text = " ".join(paragraph.split())
        head = re.match(r"\*\*(.+?)\.\*\* ", text)
        heading = head[1] if head else ""
        for sentence in _END.split(text[head.end() if head else 0 :]):
            yield heading, sentence


PROMISES = list(_promises())


@pytest.mark.parametrize(("heading", "sentence"), PROMISES, ids=lambda text: text[:40])
def test_each_promise_has_its_test(heading, sentence):
    mine = [words for words in PROOFS["sentences"] if sentence.startswith(words)]
    if heading in PROOFS["paragraphs"] and not mine:
        return
    assert len(mine) == 1, f"tests/semantics.toml has {mine or 'nothing'} for: {sentence}"


def test_no_proof_is_of_something_that_nobody_promised():
    said = [sentence for _, sentence in PROMISES]
    idle = [w for w in PROOFS["sentences"] if not any(s.startswith(w) for s in said)]
    idle += PROOFS["paragraphs"].keys() - {heading for heading, _ in PROMISES}
    assert not idle


@pytest.mark.parametrize("kind", ["paragraphs", "sentences"])
def test_every_proof_is_a_test(kind):
    for words, tests in PROOFS[kind].items():
        assert tests, words
        for test in tests:
            path, _, name = test.partition("::")
            names = _tests_in(HERE / path)
            assert name in names if name else names, f"{words}: there is no {test}"


@cache
def _tests_in(path):
    """The tests of a file; of a state machine, its rules."""
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {n.name for n in nodes if isinstance(n, kinds)}
