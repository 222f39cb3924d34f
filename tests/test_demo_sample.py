"""The sample on disk: the same bytes each time, valid NWB, releases that relate as the real do."""

import csv
import hashlib
import itertools
import json
import shutil
import subprocess
import sys

import h5py
import pynwb
import pytest

from vbofs.demo import VERSIONS, DemoUnavailable, Sample, build, releases
from vbofs.demo.sample import MARKER, _known

SMALLEST, LARGEST = 5_000_000, 60_000_000  # bytes


@pytest.fixture(scope="module")
def again(sample, tmp_path_factory):
    """The sample made again, where one lay that lacks a file and has nothing in all the others."""
    folder = tmp_path_factory.mktemp("again")
    root = folder / "small"
    lost = sample.release("0.1.0").files[0].local
    for release in sample.releases:
        for local in release.paths.values():
            if local != lost:
                place = root / local.relative_to(sample.root)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
    shutil.copy(sample.root / MARKER, root)
    return build(folder, small=True)


def rows(release, name):
    with release.paths[f"project_metadata/{name}.csv"].open(newline="") as file:
        return list(csv.DictReader(file))


def pinned(release):
    return {file.path: file.digest for file in release.files}


def planned(version, *, small=False):
    return next(release for release in releases.plan(small=small) if release.version == version)


# --- the files


def test_two_generations_are_byte_identical(sample, again):
    for one, other in zip(sample.releases, again.releases, strict=True):
        assert pinned(one) == pinned(other)
        for path, local in one.paths.items():
            assert local.read_bytes() == other.paths[path].read_bytes(), path


def test_the_digests_are_those_of_the_files(sample):
    for release in sample.releases:
        for file in (*release.tables, *release.files):
            with file.local.open("rb") as body:
                assert hashlib.file_digest(body, "blake2b").hexdigest() == file.digest


@pytest.mark.parametrize(
    "ident", ["behavior_session_870987812", "behavior_ophys_experiment_951980471"]
)
def test_pynwb_validates_a_file_of_each_kind(sample, ident):
    for version in ("0.1.0", "1.1.0"):
        [local] = {file.local for file in sample.release(version).files if ident in file.path}
        assert pynwb.validate(path=local) == []


def test_pynwb_reads_what_the_tables_say(sample):
    release = sample.release("1.1.0")
    cells = [
        r for r in rows(release, "ophys_cells_table") if r["ophys_experiment_id"] == "951980471"
    ]
    local = release.paths["behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"]
    with pynwb.NWBHDF5IO(local, "r") as file:
        nwb = file.read()
        assert nwb.session_id == "951980471"
        assert nwb.subject.subject_id == "457841"
        ophys = nwb.processing["ophys"]
        table = ophys["image_segmentation"]["cell_specimen_table"]
        assert list(table.id[:]) == [int(row["cell_roi_id"]) for row in cells]
        assert list(table["cell_specimen_id"][:]) == [int(row["cell_specimen_id"]) for row in cells]
        assert ophys["dff"]["traces"].data.shape[1] == len(cells)


def test_an_experiment_is_laid_out_like_the_real_ones(sample):
    path = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
    with h5py.File(sample.release("1.0.1").paths[path]) as file:
        superblock, *_ = file.id.get_create_plist().get_version()
        found = {}
        file.visititems(lambda name, node: found.update({name: node}))
        datasets = {name: node for name, node in found.items() if isinstance(node, h5py.Dataset)}
        assert superblock == 0
        assert {n for n, d in datasets.items() if d.chunks} == {
            "processing/ophys/event_detection/data"
        }
        assert file["processing/ophys/event_detection/data"].compression == "gzip"
        assert file["processing/ophys/dff/traces/data"].dtype == "float64"
        assert "processing/running/speed/data" in datasets
        assert "processing/ophys/images/max_projection" in datasets


def test_every_small_file_is_five_megabytes_or_more_and_one_has_two_parts(sample):
    sizes = {file.path: file.size for release in sample.releases for file in release.files}
    assert min(sizes.values()) >= SMALLEST
    assert max(sizes.values()) < 2 * (8 << 20)
    assert sizes["behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"] > 8 << 20


def test_the_planned_arrays_of_the_full_sample_fit_its_size_limits():
    """The specifications that pynwb embeds and the tables come to 1.3 to 2 MB a file."""
    sizes = []
    for version in VERSIONS:
        for file in planned(version).files:
            shape = file.recording.shape
            traces = shape.frames * (4 * shape.cells + 3)
            images = shape.images[0] * shape.images[1] * shape.images[2]
            sizes.append(8 * (7 * shape.samples + traces + images))
    assert min(sizes) > SMALLEST - 1_300_000
    assert LARGEST * 0.8 < max(sizes) < LARGEST - 2_000_000


# --- the releases


def test_the_full_sample_has_the_promised_numbers_of_files():
    count = {v: [f.path.split("/")[0] for f in planned(v).files] for v in VERSIONS}
    kinds = ("behavior_sessions", "behavior_ophys_experiments")
    counted = {version: tuple(map(names.count, kinds)) for version, names in count.items()}
    assert counted == {"0.1.0": (16, 10), "0.2.0": (16, 10), "1.0.1": (21, 12), "1.1.0": (20, 12)}


@pytest.mark.parametrize("small", [True, False])
def test_release_0_2_0_changes_only_tables(small):
    first, second = planned("0.1.0", small=small), planned("0.2.0", small=small)
    assert first.files == second.files
    assert [t.name for t in first.tables] == [t.name for t in second.tables]
    assert all(a.text != b.text for a, b in zip(first.tables, second.tables, strict=True))


def test_release_1_0_1_keeps_changes_drops_and_adds_files_and_adds_a_table(sample):
    old, new = pinned(sample.release("0.2.0")), pinned(sample.release("1.0.1"))
    both = old.keys() & new.keys()
    assert old.keys() - new.keys()
    assert new.keys() - old.keys()
    assert {path for path in both if old[path] != new[path]}
    assert old["behavior_sessions/behavior_session_870987812.nwb"] in new.values()
    assert len(sample.release("0.2.0").tables) == 3
    assert len(sample.release("1.0.1").tables) == 4


def test_release_1_1_0_changes_every_file(sample):
    old, new = pinned(sample.release("1.0.1")), pinned(sample.release("1.1.0"))
    assert new.keys() <= old.keys()
    assert not set(old.values()) & set(new.values())


def test_no_two_different_files_have_the_same_bytes(sample):
    named = {(file.path, file.digest) for release in sample.releases for file in release.files}
    assert len({digest for _path, digest in named}) == len(named)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_ids_of_a_release_are_those_of_its_tables(sample, version):
    release = sample.release(version)
    none = "-999" if version == "1.1.0" else ""
    listed = [
        row["file_id"]
        for name in ("behavior_session_table", "ophys_experiment_table")
        for row in rows(release, name)
    ]
    assert sorted(ident for ident in listed if ident != none) == sorted(
        f.ident for f in release.files
    )
    assert all(
        len(file.ident) == (10 if version < "1.1" else len(file.ident)) for file in release.files
    )


@pytest.mark.parametrize(("version", "small"), list(itertools.product(VERSIONS, [True, False])))
def test_the_tables_of_a_release_agree_with_each_other(version, small):
    text = {t.name: t.text.decode().splitlines() for t in planned(version, small=small).tables}
    tables = {name: list(csv.DictReader(lines)) for name, lines in text.items()}
    experiments = {row["ophys_experiment_id"] for row in tables["ophys_experiment_table"]}
    sessions = {row["behavior_session_id"] for row in tables["behavior_session_table"]}
    assert {row["behavior_session_id"] for row in tables["ophys_experiment_table"]} <= sessions
    for name in ("behavior_session_table", "ophys_session_table"):
        lists = [json.loads(row["ophys_experiment_id"] or "[]") for row in tables[name]]
        assert sorted(map(str, itertools.chain(*lists))) == sorted(experiments)
    if version >= "1.0.1":
        assert {row["ophys_experiment_id"] for row in tables["ophys_cells_table"]} == experiments
        ids = [row["cell_roi_id"] for row in tables["ophys_cells_table"]]
        assert len(set(ids)) == len(ids)


# --- keeping it


def test_a_complete_sample_is_used_again(sample):
    before = {path: path.stat().st_mtime_ns for path in sample.root.rglob("*")}
    assert build(sample.root.parent, small=True) == sample
    assert {path: path.stat().st_mtime_ns for path in sample.root.rglob("*")} == before


def test_a_sample_that_lacks_a_file_is_made_again(sample, again):
    lost = sample.release("0.1.0").files[0].local.relative_to(sample.root)
    assert again.root != sample.root
    assert again.release("0.1.0").files[0].local == again.root / lost
    assert (again.root / lost).is_file()
    assert pinned(again.release("0.1.0")) == pinned(sample.release("0.1.0"))


def test_a_sample_of_another_generator_or_without_its_marker_is_not_known(sample, tmp_path):
    generator = json.loads((sample.root / MARKER).read_text())["generator"]
    assert _known(sample.root, generator)
    assert _known(sample.root, "another") is None
    assert _known(tmp_path, generator) is None


def test_importing_the_package_imports_none_of_the_extra():
    heavy = ("boto3", "h5py", "moto", "numpy", "pandas", "pynwb", "werkzeug")
    code = f"import sys, vbofs.demo; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_missing_package_is_named_together_with_the_cure(tmp_path):
    """``-S`` leaves the site-packages out, and so the extra."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from vbofs.demo import DemoServer, DemoUnavailable, build\n"
        "for ask in (lambda: build(Path(sys.argv[2])), DemoServer(Path(sys.argv[2])).start):\n"
        "    try: ask()\n"
        "    except DemoUnavailable as error: print(error)\n"
    )
    root = str(releases.__file__).removesuffix("/vbofs/demo/releases.py")
    command = [sys.executable, "-S", "-c", code, root, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [
        "h5py is not installed; pip install 'vbofs[demo]'",
        "moto is not installed; pip install 'vbofs[demo]'",
    ]
    assert issubclass(DemoUnavailable, Exception)


def test_an_unknown_release_is_a_key_error(sample: Sample):
    with pytest.raises(KeyError):
        sample.release("9.9.9")
