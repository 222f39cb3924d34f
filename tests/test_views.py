"""Views: directories by what tables say, names that people can read, and no name that harms."""

from __future__ import annotations

import pytest

from tests.real_sized import EXPERIMENTS as MANY
from tests.real_sized import IMAGED, MICE, real_sized
from tests.real_sized import SESSIONS as ALL
from tests.small_tables import EXPERIMENTS, FILES, SESSIONS, to_csv
from vbofs.catalog import views
from vbofs.catalog.query import Query
from vbofs.catalog.tables import Files, frame
from vbofs.errors import TableInvalid

IDENTS = {str(n): path for n, path in enumerate(FILES)}
TABLES = {"behavior_session_table": SESSIONS, "ophys_experiment_table": EXPERIMENTS}


def layout(view, tables=TABLES, idents=IDENTS):
    return views.layout(view, tables, idents, "file_id")


def only(**row):
    """The layout by mouse of one file with such a row."""
    return layout("by-mouse", {"t": to_csv({"t_id": 5, "mouse_id": 1, **row, "file_id": 0})})


def test_a_view_has_a_directory_for_each_answer_and_a_name_for_each_file():
    assert layout("by-mouse") == {
        "457841": {
            "TRAINING_0_1.nwb": "s/1.nwb",
            "2019-09-20_OPHYS_1_images_A_VISp-150um_30.nwb": "e/30.nwb",
            "2019-09-20_OPHYS_1_images_A_VISl-225um_31.nwb": "e/31.nwb",
        },
        "412036": {"TRAINING_1_3.nwb": "s/3.nwb"},
    }


@pytest.mark.parametrize(
    ("view", "sizes"),
    [
        ("by-cre-line", {"Sst-IRES-Cre": 3, "Vip-IRES-Cre": 1}),
        ("by-session-type", {"TRAINING_0": 1, "TRAINING_1": 1, "OPHYS_1_images_A": 2}),
        ("by-structure", {"VISp": 1, "VISl": 1}),
        ("by-container", {"40": 1, "41": 1}),
    ],
)
def test_files_that_have_no_answer_are_in_no_directory(view, sizes):
    assert {name: len(links) for name, links in layout(view).items()} == sizes


def test_a_file_with_several_answers_is_in_each():
    row = {"ecephys_session_id": 5, "structure_acronyms": "['CA1', 'VISp', 'CA1']", "file_id": 0}
    links = {"5.nwb": "s/1.nwb"}
    made = layout("by-structure", {"ecephys_sessions": to_csv(row)})
    assert made == {"CA1": links, "VISp": links}


def test_a_probe_is_found_by_its_sessions_mouse_and_named_after_itself():
    tables = {
        "ecephys_sessions": to_csv(
            {"ecephys_session_id": 5, "mouse_id": 7, "date_of_acquisition": "2020-10-19 14:00"}
        ),
        "probes": to_csv(
            {"ecephys_probe_id": 8, "ecephys_session_id": 5, "name": "probeA", "file_id": 3}
        ),
    }
    assert layout("by-mouse", tables) == {"7": {"2020-10-19_probeA_8.nwb": "e/31.nwb"}}


@pytest.mark.parametrize("table", [b"", b"a,b\n1,2\n", b"behavior_session_id,file_id\n"])
def test_tables_that_say_nothing_make_an_empty_view_or_a_line(table):
    try:
        assert layout("by-mouse", {"t": table}) == {}
    except TableInvalid as error:
        assert str(error) == "the table t is empty"


@pytest.mark.parametrize(
    ("mouse", "directory"),
    [
        ("../../etc", "_._.._etc"),
        (".", "_"),
        ("..", "_."),
        ("a/b", "a_b"),
        ("a b\tc\x1b[2Jd", "a_b_c_[2Jd"),
        ("x" * 999, "x" * views.LONGEST_NAME),
        ("ü" * 200, "ü" * 100),
    ],
)
def test_no_answer_leads_out_of_its_view_or_moves_the_cursor(mouse, directory):
    (name,) = only(mouse_id=mouse)
    assert name == directory
    assert len(name.encode()) <= 255
    assert "/" not in name


@pytest.mark.parametrize("word", ["../x", "\0", "a\nb", "/" * 300, "é" * 300])
def test_no_word_of_a_row_makes_a_name_that_linux_refuses(word):
    row = {"date_of_acquisition": word, "session_type": word, "targeted_structure": word}
    [links] = only(**row).values()
    (name,) = links
    assert len(name.encode()) <= 255
    assert not set(name) & set("/\0\n")
    assert name not in (".", "..")


def test_files_of_one_name_are_told_apart():
    rows = [{"t_id": 5, "mouse_id": 1, "file_id": n} for n in range(3)]
    assert layout("by-mouse", {"t": to_csv(*rows)}) == {
        "1": {"5.nwb": "s/1.nwb", "5-2.nwb": "s/3.nwb", "5-3.nwb": "e/30.nwb"}
    }


def test_a_file_that_two_rows_name_is_there_once():
    rows = [{"t_id": n, "mouse_id": 1, "file_id": 0} for n in range(3)]
    assert layout("by-mouse", {"t": to_csv(*rows)}) == {"1": {"0.nwb": "s/1.nwb"}}


def test_a_view_that_would_exhaust_memory_is_refused(monkeypatch):
    many = [{"t_id": n, "structure_acronyms": str(list("abcdefgh"))} for n in range(4)]
    table = to_csv(*({**row, "file_id": n} for n, row in enumerate(many)))
    monkeypatch.setattr(views, "MAX_LINKS", 20)
    with pytest.raises(TableInvalid, match="by-structure would have more than 20 links"):
        layout("by-structure", {"t": table})
    monkeypatch.setattr(views, "MAX_ANSWERS", 5)
    assert len(layout("by-structure", {"t": table})) == 5


def test_views_and_queries_agree_on_tables_of_real_size():
    tables, idents = real_sized()
    files = Files({n: frame(n, b) for n, b in tables.items()}, idents, "file_id", release="1")
    assert len(files.frame) == len(idents) == ALL - IMAGED + MANY
    for view, question in views.VIEWS.items():
        made = layout(view, tables, idents)
        for answer in list(made)[:3]:
            found = files.select(Query(**{question: (answer,)})).files
            assert sorted(found) == sorted(made[answer].values())
    assert len(layout("by-mouse", tables, idents)) == MICE
    assert sum(map(len, layout("by-structure", tables, idents).values())) == MANY
