"""What docs/ and the shipped files tell administrators to write is what vbofs takes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from vbofs.cli import cli
from vbofs.config import FIELDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"(?:^|[\s/\"`(])vbofs ((?:[a-z]+)(?: [^`;|&)\n]*)?)")


def fenced(kind):
    """The blocks of code of that kind, with the page they are on."""
    for page in PAGES:
        for text in re.findall(
            rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            yield pytest.param(text, id=f"{page.name}-{text[:20]!r}")


def in_lists(document):
    """Commands that are written as a list of words, as in a container's."""
    if isinstance(document, dict):
        for one in document.values():
            yield from in_lists(one)
    if isinstance(document, list):
        if "vbofs" in document and document[0] in ("vbofs", "timeout"):
            yield [str(word) for word in document[document.index("vbofs") + 1 :]]
        for one in document:
            yield from in_lists(one)


def check(words):
    """Fail if vbofs has no such command, or it no such option."""
    command, context = cli, click.Context(cli)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.get_command(context, rest.pop(0))
        assert command is not None, words
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "-h"}
    said = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
    assert said <= known, f"vbofs {' '.join(words)}"


def lines():
    """Each ``vbofs VERB …`` of the pages."""
    verbs = set(cli.list_commands(click.Context(cli)))
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for said in COMMAND.findall(text):
            if said.split()[0] in verbs:
                yield page.name, said


def test_every_command_in_the_docs_has_the_options_that_it_is_given():
    found = list(lines())
    assert len(found) > 100
    for _, said in found:
        said = said.partition(" #")[0].replace("'", "").replace('"', "")
        check(said.split())


@pytest.mark.parametrize("text", [*fenced("yaml")])
def test_a_recipe_in_yaml_is_yaml_and_its_settings_are_settings(text):
    for document in yaml.safe_load_all(text):
        assert document
        for words in in_lists(document):
            check(words)
        for content in re.findall(r"'content': '(.*?)'", str(document)):
            settings = tomllib.loads(content.encode().decode("unicode_escape"))
            assert settings
            assert set(settings) <= set(FIELDS)


@pytest.mark.parametrize("text", [*fenced("sh"), *fenced("bash")])
def test_a_recipe_for_the_shell_is_one(text):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_of_settings_has_keys_that_there_are():
    text = (ROOT / "systemd/example.toml").read_text()
    settings = tomllib.loads(re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE))
    assert len(settings) > 4
    assert set(settings) <= set(FIELDS)


def test_the_keys_in_fstab_and_in_autofs_are_settings():
    text = (ROOT / "docs/systemd.md").read_text()
    words = re.findall(r"-o ([a-z_]+[,=]\S*)|-fstype=vbofs,(\S+)", text)
    keys = {word.partition("=")[0] for pair in words for word in "".join(pair).split(",")}
    assert len(keys) > 1
    assert {key.strip("`…)") for key in keys} - {""} <= set(FIELDS)
