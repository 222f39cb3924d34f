"""Queries against the tables of a release that was published, read through the block store."""

from __future__ import annotations

import pytest

from tests.small_tables import FILES, TABLES
from vbofs.catalog.query import Query
from vbofs.cli.query import selected
from vbofs.metadata import Metadata


@pytest.fixture
async def metadata(publisher, open_dataset, store, fetcher):
    publisher.release("1.0.0", FILES, TABLES)
    return Metadata(await open_dataset(), store, fetcher)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        (Query(), list(FILES)),
        (Query(mouse=("457841",)), ["s/1.nwb", "e/30.nwb", "e/31.nwb"]),
        (Query(mouse=("457841", "412036"), session_type=("TRAINING*",)), ["s/1.nwb", "s/3.nwb"]),
        (Query(session_id=("2",)), ["e/30.nwb", "e/31.nwb"]),
        (Query(session_id=("20",), structure=("VISp",)), ["e/30.nwb"]),
        (Query(experiment_id=("31",)), ["e/31.nwb"]),
        (Query(depth=(100, 200)), ["e/30.nwb"]),
        (Query(where="imaging_depth > 200 or mouse_id == '412036'"), ["s/3.nwb", "e/31.nwb"]),
        (Query(where="date_of_acquisition > '2019-01-01'"), ["e/30.nwb", "e/31.nwb"]),
        (Query(where="not (cre_line in ['Sst-IRES-Cre'])"), ["s/3.nwb"]),
        (
            Query(table="behavior_session_table", where="ophys_session_id == 20"),
            ["e/30.nwb", "e/31.nwb"],
        ),
        (Query(table="ophys_cells_table", where="cell_specimen_id == 9"), ["e/31.nwb"]),
    ],
)
async def test_a_query_comes_to_the_files_that_match(metadata, query, paths):
    assert await selected(metadata, query, "latest") == paths
    assert await selected(metadata, query, "v1.0.0") == paths
