"""Metadata tables as frames: typed and indexed as AllenSDK's, whatever the publisher wrote."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.small_tables import CELLS, EXPERIMENTS, FILES, OPHYS_SESSIONS, SESSIONS, to_csv
from vbofs.catalog import rows, views
from vbofs.catalog.query import Query
from vbofs.catalog.tables import Files, frame
from vbofs.errors import TableInvalid, UnknownColumn, VbofsError

IDENTS = {str(n): path for n, path in enumerate(FILES)}


def files_of(idents=IDENTS, **tables):
    frames = {name: frame(name, content) for name, content in tables.items()}
    return Files(frames, idents, "file_id", release="1.0.0")


# --- types


def test_sessions_are_typed_as_allensdk_has_them():
    table = frame("behavior_session_table", SESSIONS)
    assert (table.index.name, table.index.dtype) == ("behavior_session_id", "int64")
    assert table["mouse_id"].tolist() == ["457841", "457841", "412036"]
    assert table["ophys_session_id"].dtype == "Int64"
    assert table["ophys_session_id"].isna().tolist() == [True, False, True]
    assert table.loc[2, "ophys_experiment_id"] == [30, 31]
    assert pd.isna(table.loc[1, "ophys_experiment_id"])
    assert table["file_id"].tolist() == [0, -999, 1]


def test_experiments_are_typed_as_allensdk_has_them():
    table = frame("ophys_experiment_table", EXPERIMENTS)
    assert table.index.tolist() == [30, 31]
    assert str(table["date_of_acquisition"].dt.tz) == "UTC"
    assert table["date_of_acquisition"].iloc[0] == pd.Timestamp("2019-09-20 09:59:38.837", tz="UTC")
    assert table["imaging_depth"].tolist() == [150, 225]


def test_cells_without_a_specimen_have_none():
    table = frame("ophys_cells_table", CELLS)
    assert (table.index.name, table["cell_specimen_id"].dtype) == ("cell_roi_id", "Int64")
    assert table["cell_specimen_id"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[]", []),
        ("[951980471, 951980473]", [951980471, 951980473]),
        ("['Slc17a7-IRES2-Cre', 'Camk2a-tTA']", ["Slc17a7-IRES2-Cre", "Camk2a-tTA"]),
        ("['APN' 'CA1'\n 'VISp']", ["APN", "CA1", "VISp"]),
        ("['CA1', nan, None]", ["CA1"]),
        ("[\"it's\", 'a, b']", ["it's", "a, b"]),
        ("[__import__('os').system('id')]", ["__import__(", "os", ").system(", "id", ")"]),
        ("[" + "9" * 5000 + "]", ["9" * 5000]),
        ("[" * 10000 + "]" * 10000, ["[" * 9999 + "]" * 9999]),
    ],
)
def test_lists_written_as_strings_are_lists_and_run_nothing(written, read):
    assert rows.listed(written) == read
    table = frame("t", to_csv({"t_id": 1, "list": written}))
    assert table["list"].iloc[0] == read


@pytest.mark.parametrize(
    ("written", "ident"),
    [
        *((" 894", "894"), ("894.0", "894"), (1085400869.0, "1085400869"), (7, "7"), ("0", "0")),
        *((value, None) for value in ("", "-999", "-999.0", "nan", float("nan"), "None", -1)),
        *(("abc-1", "abc-1"), ("1e3", "1e3"), ("9" * 40, "9" * 40), ("007", "7")),
    ],
)
def test_ids_are_what_manifests_call_them(written, ident):
    assert rows.identifier(written) == ident


def test_a_table_of_another_name_is_indexed_by_its_first_id():
    assert frame("stranger", b"name,some_id,file_id\nx,4,5\n").index.name == "some_id"
    assert frame("stranger", b"name,value\nx,4\n").index.name is None
    assert frame("behavior_session_table", b"mouse_id,x\n7,8\n").index.tolist() == ["7"]


def test_dates_of_any_precision_are_read_and_others_are_absent():
    table = frame(
        "t",
        to_csv(
            *({"date_of_acquisition": d} for d in ("2019-09-20", "2019-09-20 09:59:38+02:00", "x"))
        ),
    )
    dates = table["date_of_acquisition"]
    assert dates.isna().tolist() == [False, False, True]
    assert dates.iloc[1] == pd.Timestamp("2019-09-20 07:59:38", tz="UTC")


# --- hostile tables


def test_a_hundred_columns_are_no_trouble():
    wide = to_csv({"a_id": 1, **{f"c{n}": n for n in range(100)}})
    assert frame("t", wide).shape == (1, 100)
    assert len(next(rows.rows("t", wide))) == 101


def test_nul_bytes_and_bytes_that_are_no_text_are_survived():
    content = b"\xef\xbb\xbfa_id,na\0me\n1,x\0y\n2,\xff\xfe\n"
    assert frame("t", content)["name"].tolist() == ["xy", "\ufffd\ufffd"]
    assert [row["name"] for row in rows.rows("t", content)] == ["xy", "\ufffd\ufffd"]


def test_short_lines_lack_values_and_long_ones_are_left_out_and_said_to_be(expects_log):
    expects_log("the table t: 1 lines are malformed and left out")
    content = b"a_id,b\n1,2\n3,4,5\n\n6\n"
    table = frame("t", content)
    assert (table.index.tolist(), table["b"].isna().tolist()) == ([1, 6], [False, True])
    assert list(rows.rows("t", content)) == [{"a_id": "1", "b": "2"}, {"a_id": "6", "b": ""}]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\0\0\0", "is empty"),
        (b",".join(b"c%d" % n for n in range(1001)), "has 1001 columns; 1000 are allowed"),
        (b"x" * 70000, "its first line does not end"),
    ],
)
def test_what_is_no_table_is_said_in_a_line(content, why):
    for read in (frame, lambda name, body: list(rows.rows(name, body))):
        with pytest.raises(TableInvalid, match=f"^the table t .*{why}$"):
            read("t", content)


def test_a_value_without_an_end_is_refused():
    content = b'a_id,b\n1,"' + b"x" * 200_000
    with pytest.raises(TableInvalid, match="the table t"):
        list(rows.rows("t", content))
    with pytest.raises(TableInvalid, match="the table t is no CSV"):
        frame("t", content)


def test_a_gigabyte_is_refused_before_it_is_read():
    with pytest.raises(TableInvalid, match=r"has 1000000000 bytes; 268435456 are allowed"):
        rows.check_size("units", 10**9)


@pytest.mark.parametrize("junk", [bytes(range(256)) * 50, b"a,b\n" + b'"' * 999, b"PK\x03\x04" * 9])
def test_junk_is_a_table_or_a_line_and_never_anything_else(junk, allows_log):
    allows_log("are malformed and left out")
    for read in (frame, lambda name, body: list(rows.rows(name, body))):
        try:
            read("t", junk)
        except TableInvalid as error:
            assert str(error).startswith("the table t")


# --- the files that tables describe


def test_each_file_has_the_row_that_names_it():
    files = files_of(behavior_session_table=SESSIONS, ophys_experiment_table=EXPERIMENTS).frame
    assert files["path"].tolist() == list(FILES)
    assert files["behavior_session_id"].tolist() == [1, 3, 2, 2]
    assert files["ophys_experiment_id"].tolist() == [pd.NA, pd.NA, 30, 31]
    assert files["imaging_depth"].dtype == "Int64"


def test_ids_without_a_file_and_files_without_a_row_are_left_out():
    files = files_of({"0": "s/1.nwb", "99": "s/99.nwb"}, behavior_session_table=SESSIONS)
    assert files.frame["path"].tolist() == ["s/1.nwb"]


def test_rows_that_name_one_file_twice_are_both_there_and_the_path_once():
    twice = to_csv(*({"behavior_session_id": 1, "mouse_id": m, "file_id": 0} for m in (7, 8)))
    files = files_of(behavior_session_table=twice)
    assert len(files.frame) == 2
    assert files.select(Query()).files == ["s/1.nwb"]
    assert files.having({"mouse_id": 8}) == ["s/1.nwb"]


def test_no_tables_describe_no_files():
    assert files_of().select(Query()).files == []
    assert files_of(ophys_session_table=OPHYS_SESSIONS).select(Query()).files == []
    empty = b"behavior_session_id,mouse_id,file_id\n"
    assert files_of(behavior_session_table=empty).select(Query()).files == []


def test_a_file_takes_from_its_session_what_its_own_row_lacks():
    sessions = to_csv(
        {"ecephys_session_id": 5, "mouse_id": 7, "genotype": "Sst-IRES-Cre/wt;x", "file_id": 0}
    )
    probes = to_csv({"ecephys_probe_id": 8, "ecephys_session_id": 5, "name": "A", "file_id": 1})
    files = files_of(ecephys_sessions=sessions, probes=probes)
    assert files.frame["mouse_id"].tolist() == ["7", "7"]
    assert files.select(Query(cre_line=("Sst-IRES-Cre",))).ids == ["5", "8"]
    assert files.select(Query(cre_line=("Sst*",), where="name == 'A'")).files == ["s/3.nwb"]


def test_the_rows_of_a_table_come_to_the_files_of_their_ids():
    files = files_of(
        behavior_session_table=SESSIONS,
        ophys_experiment_table=EXPERIMENTS,
        ophys_session_table=OPHYS_SESSIONS,
        strangers=b"stranger_id\n1\n",
    )
    found = files.select(Query(table="ophys_session_table"))
    assert (found.key, found.ids) == ("ophys_session_id", ["20"])
    assert found.paths == [("e/30.nwb", "e/31.nwb")]
    assert found.under("/m/v1").frame["paths"].tolist() == [["/m/v1/e/30.nwb", "/m/v1/e/31.nwb"]]
    assert files.select(Query(table="strangers")).paths == [()]
    with pytest.raises(UnknownColumn, match=r"no table 'ophys_sessions' in v1.0.0; did you mean"):
        files.select(Query(table="ophys_sessions"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"mouse": ("457842",)}, "--mouse: nothing in v1.0.0 has '457842'; did you mean '457841'?"),
        ({"cre_line": ("457841", "Zzz*")}, "--cre-line: nothing in v1.0.0 has '457841'"),
        ({"container": ("1",)}, "--container: no table that is asked in v1.0.0 has a column oph"),
        ({"depth": (1, 2)}, "--depth: no table that is asked in v1.0.0 has a column imaging_dept"),
        ({"where": "mouseid == '1'"}, "--where: no column 'mouseid' in v1.0.0; did you mean 'mou"),
        ({"where": "1 == 1"}, "--where: it names no column"),
        ({"where": "mouse_id"}, "--where: it is no comparison"),
        ({"where": "behavior_session_id + 1"}, "--where: it is no comparison"),
        ({"where": "mouse_id == 457841"}, "--where: mouse_id is text; write its values in quotes"),
        ({"where": "file_id in ['1']"}, "--where: file_id is a number; write its values without"),
        ({"where": "mouse_id * 1000000000 == '1'"}, "--where: mouse_id is no number; it cannot be"),
        ({"where": "mouse_id > behavior_session_id"}, "--where: pandas cannot answer it: "),
    ],
)
def test_what_is_not_there_is_answered_with_what_comes_near(words, said):
    files = files_of(behavior_session_table=SESSIONS)
    with pytest.raises((UnknownColumn, Exception)) as caught:
        files.select(Query(**words))
    assert str(caught.value).startswith(said)
    assert type(caught.value).__name__ in ("UnknownColumn", "QueryInvalid")


def test_absent_values_are_neither_less_nor_more():
    files = files_of(behavior_session_table=SESSIONS, ophys_experiment_table=EXPERIMENTS)
    assert files.select(Query(where="imaging_depth < 200")).files == ["e/30.nwb"]
    assert files.select(Query(where="not (imaging_depth < 200)")).files == ["e/31.nwb"]


def test_columns_are_listed_with_types_and_values():
    files = files_of(behavior_session_table=SESSIONS, ophys_experiment_table=EXPERIMENTS)
    columns = {name: (kind, values) for name, kind, values in files.columns()}
    assert columns["mouse_id"] == ("text", "412036, 457841")
    assert columns["imaging_depth"] == ("number", "150 … 225")
    assert columns["date_of_acquisition"] == ("date", "2019-09-20")
    assert ("ophys_experiment_id", "list", "30, 31") in files.columns("behavior_session_table")


# --- whatever the publisher writes

CELL = st.sampled_from(
    [
        *("", "-999", "nan", "1", "2", "1.0", "2.5", "abc", "[1, 2]", "['a', 'b']", "True", "inf"),
        *(
            "1e400",
            "9" * 20,
            "2019-09-20",
            "9999-12-31 23:59:59+14:00",
            "a/b",
            "[1",
            "١٢٣",
            "\x1b[",
        ),
    ]
)
COLUMN = st.sampled_from(
    [
        *("behavior_session_id", "ophys_session_id", "ophys_experiment_id", "ecephys_session_id"),
        *("mouse_id", "genotype", "structure_acronyms", "imaging_depth", "date_of_acquisition"),
        *("file_id", "file_id", "path", "id", "index", "unit_count", "passive", "True"),
    ]
)
NAME = st.sampled_from([*rows.KEYS, "stranger"])
TABLE = st.lists(st.dictionaries(COLUMN, CELL, min_size=1, max_size=8), min_size=1, max_size=4)


@given(st.dictionaries(NAME, TABLE, min_size=1, max_size=3), COLUMN, CELL)
def test_any_tables_are_answered_or_refused_in_a_line(written, column, cell):
    raw = {name: to_csv(*lines) for name, lines in written.items()}
    files = files_of(**raw)
    files.columns()
    wheres = [f"{column} == 1", f"{column} != 'a'", f"{column} < file_id", f"not {column}"]
    queries = [{}, {"mouse": (cell or "1",)}, {"depth": (0, 9)}, *({"where": w} for w in wheres)]
    for query in queries:
        for table in ("", *raw):
            try:
                found = files.select(Query(**query, table=table)).under("/mnt")
            except VbofsError as error:
                assert "\n" not in str(error)
                continue
            found.frame.to_csv()
            found.frame.to_json(orient="records", date_format="iso")
            assert all(len(found.text(name)) == len(found.ids) for name in found.frame.columns)
    for view in views.VIEWS:
        for links in views.layout(view, raw, IDENTS, "file_id").values():
            assert set(links.values()) <= set(FILES)
