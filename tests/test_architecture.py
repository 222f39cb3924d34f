"""The architecture, as a test.  ARCHITECTURE.md says why; this says no."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "vbofs"

# Top floor first.  A module may import from floors strictly below its own, and from
# its own room; rooms on one floor do not know each other.
FLOORS = [
    ["__main__"],
    ["cli"],
    ["api"],
    ["demo", "doctor"],
    ["daemon"],
    ["fuse"],
    ["filesystem"],
    ["metadata", "transfer", "xattrs"],
    ["dataset", "blocks"],
    ["catalog", "remote"],
    ["behalf", "handover"],
    ["config", "control", "kept", "logs", "metrics", "mounts", "ownfiles", "systemd"],
    ["tunables"],
    ["health", "histogram", "model", "presets", "servers"],
    ["errors", "garbage"],
    ["_version"],
]

# Each outside world has one door.  The demo is a publisher, a world of its own.
DOORS = {
    "boto3": {"remote.s3_client", "demo"},
    "botocore": {
        "remote.s3",
        "remote.s3_bodies",
        "remote.s3_client",
        "remote.s3_errors",
        "remote.s3_line",
        "remote.probe",
        "demo",
    },
    "urllib3": {"remote.s3_errors", "remote.s3_line"},
    "pandas": {"catalog.tables", "demo", "api"},  # The API names its types only.
    "h5py": {"demo", "cli.demo", "api", "blocks.arrays"},
    "pynwb": {"demo", "api"},
    "moto": {"demo"},
    "pyfuse3": {"fuse"},
    "click": {"cli"},
    "rich": {"cli"},
    "prometheus_client": {"metrics"},
    "logging_journald": {"logs"},
    "xxhash": {"blocks.blobmap", "kept"},
    "cachetools": {"blocks.store", "filesystem.openfiles", "remote.s3", "remote.sites"},
}

# Rooms that know nothing of tasks, time or disks.
PURE = {
    "catalog",
    "model",
    "servers",
    "errors",
    "health",
    "histogram",
    "blocks.extents",
    "blocks.hdf5",
    "blocks.readahead",
}
IMPURE = {"trio", "os", "socket", "threading", "time", "tempfile", "shutil", "subprocess"}

HEIGHT = {room: -n for n, floor in enumerate(FLOORS) for room in floor}


def dotted(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = [pytest.param(dotted(p), p, id=dotted(p)) for p in sorted(PACKAGE.rglob("*.py"))]


def imports(name, path):
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [
                *(["vbofs"] if node.level else []),
                *base,
                *([node.module] if node.module else []),
            ]
            yield from (".".join([*stem, alias.name]) for alias in node.names)


def under(name, rooms):
    return any(name == room or name.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_imports_go_down_and_through_the_doors(name, path):
    room = name.split(".")[0]
    assert room in HEIGHT or name == "__init__", f"{room} has no floor; give it one in FLOORS"
    for target in imports(name, path):
        top, _, rest = target.partition(".")
        if top == "vbofs" and rest:
            other = rest.split(".")[0]
            if other in HEIGHT and other != room:
                assert HEIGHT[other] < HEIGHT[room], f"{name} may not look up to {other}"
        elif top in DOORS:
            assert under(name, DOORS[top]), f"only {DOORS[top]} may import {top}, not {name}"
        if under(name, PURE):
            assert top not in IMPURE, f"{name} is pure; it may not import {top}"
