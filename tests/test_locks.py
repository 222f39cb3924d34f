"""The lock files are in step with pyproject.toml, have hashes for all, and name no place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
EXTRAS = {"requirements": [], "demo": ["demo"], "tests": ["demo", "test"]}


def _locked(name):
    """Every version of every package in a lock file, and how many hashes each has."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (HERE / f".ci/{name}.lock").read_text()):
        head = entry.split(" \\")[0].split(" ;")[0]
        package, version = head.strip().split("==")
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)
        found.setdefault(canonicalize_name(package), []).append((version, len(hashes)))
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_what_pyproject_asks_for_is_locked_in_a_version_that_will_do(name):
    locked = _locked(name)
    asked = [*PROJECT["dependencies"]]
    for extra in EXTRAS[name]:
        asked += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, asked):
        if requirement.name == PROJECT["name"]:
            continue
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not in .ci/{name}.lock; run: make lock"
        for version, _ in versions:
            said = f"{requirement} is locked as {version}; run: make lock"
            assert requirement.specifier.contains(version, prereleases=True), said


@pytest.mark.parametrize("name", EXTRAS)
def test_every_package_has_hashes_and_no_place_is_named(name):
    locked = _locked(name)
    assert len(locked) >= 20
    assert all(hashes for versions in locked.values() for _, hashes in versions)
    lines = (HERE / f".ci/{name}.lock").read_text().splitlines()
    for line in lines:
        assert "/" not in line, line
        assert not line.startswith("-"), line


def test_all_three_agree():
    least, demo, tests = map(_locked, EXTRAS)
    assert least.items() <= demo.items()
    assert demo.items() <= tests.items()


def test_what_is_installed_is_what_is_locked():
    rules = (HERE / "Makefile").read_text()
    assert "LOCKED := --require-hashes -r\n" in rules
    for name in EXTRAS:
        assert f"install $(LOCKED) .ci/{name}.lock" in rules
    assert not re.search(r"pip\b.* install (-e )?'?\.\[", rules)
