"""The pages and the code say the same: links lead somewhere, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.test_architecture import FLOORS
from vbofs import errors
from vbofs.cli import VERBS, cli
from vbofs.config import FIELDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
#: What users read.
PROSE = "\n".join(p.read_text() for p in PAGES if p.name not in ("ARCHITECTURE.md", "CHANGELOG.md"))
#: Whom a reader of the pages need not know: which registry a package comes from is pip's business.
REGISTRIES = re.compile(r"pypi\.org|pythonhosted|npmjs|crates\.io|deb\.debian|archive\.ubuntu")


def _rows(page, heading):
    """The cells of the table under the row that begins with *heading*."""
    text = (ROOT / page).read_text()
    table = text[text.index(f"| {heading} ") :].split("\n\n")[0]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()[2:]
    ]


def _anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


# --- links


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in _anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_page_can_be_reached(page):
    if page.name == "README.md" or page.parent.name == "decisions":
        return  # Decisions are listed by their directory, which ARCHITECTURE.md links to.
    others = "\n".join(other.read_text() for other in PAGES if other != page)
    assert re.search(rf"\]\(([^)]*/)?{re.escape(page.name)}[)#]", others)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_a_page_names_are_there(page):
    named = r"(?<![\w/.~-])((?:docs|tests|systemd|\.ci)/[\w./@-]*\w|vbofs/[\w/]+\.py)\b"
    for name in re.findall(named, page.read_text()):
        assert any(ROOT.glob(f"{name}*")), f"{name} is not there"


def test_modules_that_the_architecture_names_are_there():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"(?<![\w/.])([a-z]\w*/\w+\.py)\b", text):
        assert (ROOT / "vbofs" / name).exists() or (ROOT / name).exists(), name


def test_the_picture_of_the_floors_is_that_of_the_test():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    picture = text.split("## Floors")[1].split("```")[1]
    drawn = re.findall(r"^ *(\d*) +(\w+)/? ", picture, re.MULTILINE)
    floors: list[set[str]] = []
    for number, room in drawn:
        if number:
            floors.append(set())
        floors[-1].add(room)
    assert floors == [set(floor) for floor in FLOORS[1:-1]]
    assert [int(number) for number, _ in drawn if number] == list(range(len(floors), 0, -1))


def test_each_decision_has_a_number_of_its_own():
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for number, page in enumerate(pages, 1):
        assert page.read_text().startswith(f"# {number}. "), page.name


# --- commands


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_and_is_spoken_of(verb):
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    assert command.help
    assert command.get_short_help_str().strip()
    assert re.search(rf"\bvbofs {verb}\b", PROSE)


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_of_each_verb_has_help(verb):
    command = cli.get_command(click.Context(cli), verb)
    commands = [command, *getattr(command, "commands", {}).values()]
    options = [p for c in commands for p in c.params if isinstance(p, click.Option)]
    assert [option.opts for option in options if not option.help and not option.hidden] == []


# --- tables


def test_each_setting_has_its_row_with_its_three_names():
    mount = cli.get_command(click.Context(cli), "mount")
    typed = {option.name: option.opts for option in mount.params}
    rows = {row[2].strip("`"): row for row in _rows("docs/settings.md", "option")}
    assert list(rows) == [name for name in rows if name in FIELDS]
    assert set(rows) == set(FIELDS)
    for name, (option, variable, _, default, means) in rows.items():
        assert variable == f"`VBOFS_{name.upper()}`"
        assert default or means, name
        words = {name.upper()} if name == "mountpoint" else set(typed.get(name, []))
        assert not words or any(f"`{word}" in option for word in words), name
        assert bool(option) == (name in typed), name


def test_each_option_of_mount_is_a_setting_or_said_to_be_none():
    mount = cli.get_command(click.Context(cli), "mount")
    text = (ROOT / "docs/settings.md").read_text()
    for option in mount.params:
        if option.name not in FIELDS and not getattr(option, "hidden", False):
            assert f"`{option.opts[0]}" in text, option.opts


def test_each_kind_of_error_has_its_exit_status_explained_in_order():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, errors.VbofsError)]
    told = {kind.exit_status for kind in kinds} - {0}
    rows = _rows("docs/exit-status.md", "status")
    listed = [int(row[0]) for row in rows]
    assert listed == sorted(set(listed))
    assert set(listed) == told | {1, 2, 130, 141}
    assert all(means for _, means, _ in rows)
    own = [kind.exit_status for kind in kinds if "exit_status" in vars(kind)]
    assert len(own) == len(set(own))


# --- words


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_page_names_a_package_registry(page):
    assert not REGISTRIES.search(page.read_text())
