"""``Dataset``: one release of a dataset, its tables and its files, for Python programs."""

from __future__ import annotations

import builtins
import io
import weakref
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..catalog.query import Query
from ..config import Settings
from ..errors import QueryInvalid, UnknownColumn, UnknownRelease
from .words import facets_of, named
from .worker import Worker

if TYPE_CHECKING:
    import pandas as pd

    from ..catalog.tables import Files
    from ..daemon import Floors
    from ..dataset import Contents
    from ..model import Blob


class Dataset:
    """One release of a dataset.  Immutable; what was asked once is kept.

    Usable as a context manager; ``close`` lets go of connections, and happens by itself.
    """

    def __init__(self, worker: Worker, release: str, mount: Path | None = None) -> None:
        self._worker = worker
        self._mount = mount
        self._closing = weakref.finalize(self, worker.close)

        async def look(floors: Floors) -> Contents:
            return await floors.metadata.contents(release)

        self._contents = worker.run(look)
        self._root = mount / f"v{self.release}" if mount is not None else None
        if self._root is not None and not self._root.is_dir():
            raise UnknownRelease(f"{mount} does not show the release {self.release}")
        self._frames: dict[str, pd.DataFrame] = {}
        self._described: Files | None = None

    def __repr__(self) -> str:
        home, mount, where = Path.home(), self._mount, ""
        if mount is not None:
            where = f" on {'~' / mount.relative_to(home) if mount.is_relative_to(home) else mount}"
        return f"<Dataset {self._worker.settings.dataset} v{self.release}{where}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._worker.settings, self.release, self._mount)

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections and of the thread that holds them."""
        self._worker.close()

    # --- which releases

    @property
    def release(self) -> str:
        """The release that this is, without a v."""
        return self._contents.release

    @property
    def releases(self) -> pd.DataFrame:
        """Every release that is published, oldest first: when, its files and bytes.

        >>> list(ds.releases.index)
        ['0.1.0', '0.2.0', '1.0.1', '1.1.0']
        """
        from ..catalog.tables import releases

        async def look(floors: Floors) -> list[tuple[str, int, int, int]]:
            rows = []
            for release in floors.dataset.releases:
                contents = await floors.dataset.contents(release)
                rows.append((release, contents.mtime, len(contents.files), contents.bytes))
            return rows

        return releases(self._worker.run(look))

    def at(self, release: str) -> Dataset:
        """The same dataset at another release.

        >>> ds.at("1.0.1")
        <Dataset visual-behavior-ophys v1.0.1 on ~/vbo>
        """
        return _reopened(self._worker.settings, named(release), self._mount)

    def diff(self, older: str, newer: str) -> pd.DataFrame:
        """What changed from one release to another: a row for each file that was added, removed,
        changed or renamed, tables too, with its bytes in both.

        >>> ds.diff("0.1.0", "0.2.0")["change"].unique().tolist()
        ['changed']
        """
        from ..catalog.diff import FilesDiff, compared
        from ..catalog.tables import differences

        async def look(floors: Floors) -> FilesDiff:
            before, after = [await floors.metadata.contents(name) for name in (older, newer)]
            return compared(dict(before.files), dict(after.files))

        return differences(self._worker.run(look))

    # --- tables

    @property
    def tables(self) -> list[str]:
        """The names of the release's tables, as AllenSDK has them.

        >>> ds.tables[0]
        'behavior_session_table'
        """
        return list(self._contents.tables)

    def table(self, name: str) -> pd.DataFrame:
        """A table: indexed by its id, ids and counts integers, dates in UTC, lists parsed.

        UnknownColumn if there is none of that name, TableInvalid if it cannot be read.
        """
        from ..catalog.tables import frame

        if name not in self._frames:

            async def read(floors: Floors) -> bytes:
                return await floors.metadata.table(self._contents, name)

            self._frames[name] = frame(name, self._worker.run(read))
        return self._frames[name].copy()

    @property
    def behavior_sessions(self) -> pd.DataFrame:
        """Sessions with behavior, imaged or not.

        >>> int(ds.behavior_sessions.loc[870987812, "age_in_days"])
        80
        """
        return self._first("behavior_session_table", "behavior_sessions")

    @property
    def ophys_sessions(self) -> pd.DataFrame:
        """Sessions with imaging, each of one experiment or several.

        >>> ds.ophys_sessions.loc[951410079, "ophys_experiment_id"]
        [951980471]
        """
        return self._first("ophys_session_table")

    @property
    def ophys_experiments(self) -> pd.DataFrame:
        """Imaging planes: each has a file.

        >>> ds.ophys_experiments.loc[951980471, "targeted_structure"]
        'VISp'
        """
        return self._first("ophys_experiment_table")

    @property
    def ophys_cells(self) -> pd.DataFrame:
        """Cells: which regions of which experiments are the same cell.

        >>> ds.ophys_cells.index.name
        'cell_roi_id'
        """
        return self._first("ophys_cells_table")

    @property
    def ecephys_sessions(self) -> pd.DataFrame:
        """Sessions with Neuropixels probes."""
        return self._first("ecephys_sessions")

    @property
    def probes(self) -> pd.DataFrame:
        """Neuropixels probes."""
        return self._first("probes")

    @property
    def channels(self) -> pd.DataFrame:
        """Channels of Neuropixels probes."""
        return self._first("channels")

    @property
    def units(self) -> pd.DataFrame:
        """Units: sorted spikes of single neurons, it is hoped."""
        return self._first("units")

    def _first(self, *names: str) -> pd.DataFrame:
        return self.table(next((name for name in names if name in self.tables), names[0]))

    # --- files

    @property
    def files(self) -> pd.DataFrame:
        """Every file that the tables describe, with all that they say of it, and its ``path``."""
        return self.find()

    def find(self, *, where: str = "", table: str = "", **facets: Any) -> pd.DataFrame:
        """The files that match, as ``vbofs find`` finds them; see there for the words.

        *facets*: ``mouse``, ``cre_line``, ``session_type``, ``experience_level``, ``structure``,
        ``container``, ``session_id``, ``experiment_id``, each one value or several, and ``depth``,
        a number or a pair.  UnknownColumn or QueryInvalid.

        >>> ds.find(mouse=457841, structure="VISp")["imaging_depth"].tolist()
        [150]
        """
        query = Query(**facets_of(facets), where=where, table=table)
        return self._files(table).select(query).under(self._root).frame.reset_index(drop=True)

    def path(self, **ids: int) -> PurePath:
        """The file of which *ids* are true: in the mount, or relative to the release without one.

        The names of *ids* are those of columns: ``ophys_experiment_id``, ``behavior_session_id``,
        ``file_id`` …  UnknownColumn if no file has them, QueryInvalid if several have.

        >>> ds.path(behavior_session_id=870987812).parent.name
        'behavior_sessions'
        """
        path = self._path(ids)
        return PurePosixPath(path) if self._root is None else self._root / path

    def open(self, **ids: int) -> io.BufferedReader:
        """The same file, opened for reading bytes; with a mount or without.

        >>> with ds.open(behavior_session_id=870987812) as file:
        ...     file.read(4)
        b'\\x89HDF'
        """
        if self._root is not None:
            return builtins.open(self._root / self._path(ids), "rb")
        from .stream import opened

        return opened(self._worker, self._blob(self._path(ids)))

    def open_nwb(self, **ids: int) -> Any:
        """The same file, opened with pynwb: its ``NWBFile``, whose arrays are read when asked.

        ExtraMissing if pynwb is not installed.

        >>> nwb = ds.open_nwb(ophys_experiment_id=951980471)
        >>> nwb.subject.subject_id
        '457841'
        """
        from .nwb import read

        return read(self.open(**ids) if self._root is None else self.path(**ids))

    def _files(self, table: str = "") -> Files:
        if self._described is None or table:

            async def read(floors: Floors) -> Files:
                return await floors.metadata.files(self.release, table)

            found = self._worker.run(read)
            if table:
                return found
            self._described = found
        return self._described

    def _path(self, ids: dict[str, int]) -> str:
        files = self._files()
        found = files.having(ids)
        said = ", ".join(f"{name}={value}" for name, value in ids.items())
        if not found:
            raise UnknownColumn(f"no file of v{self.release} has {said}")
        if len(found) > 1:
            raise QueryInvalid(f"{len(found)} files of v{self.release} have {said}; use find()")
        return found[0]

    def _blob(self, path: str) -> Blob:
        return next(blob for known, blob in self._contents.files if known == path)


def _reopened(settings: Settings, release: str, mount: Path | None) -> Dataset:
    return Dataset(Worker(settings), release, mount)
