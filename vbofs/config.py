"""Settings: the frozen answer of options, environment and file, in that order.

Every setting is a field of ``Settings`` and has one name in three spellings: ``--cache-dir``,
``VBOFS_CACHE_DIR`` and ``cache_dir`` in the file.  Each value is checked where it enters, so that
the message can say where the culprit stands.  Nothing here touches the network or the mountpoint.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
import semver

from .errors import SettingsInvalid
from .presets import PRESETS, Preset
from .servers import is_server, parse_chain

VARIABLE_PREFIX = "VBOFS_"
#: Names which file to read; it is no setting itself, for a file cannot name another.
FILE_VARIABLE = "VBOFS_CONFIG"
#: Bytes; a daemon that reads nothing takes more than half of it.
LEAST_MEMORY = 128_000_000
#: What names a bucket, a prefix in it, and a region.
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
PROJECT_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)
REGION_NAME = re.compile(r"[a-z0-9-]+")
#: Symbolic links followed to a mountpoint, as many as Linux itself follows.
MOST_LINKS = 40

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided before anything runs.  Paths are absolute; releases are bare semver."""

    dataset: str = "visual-behavior-ophys"
    bucket: str = ""
    project: str = ""
    region: str = ""
    endpoint_url: str | None = None
    #: Caching servers of the site, in groups: the first is tried first, its members share the load.
    site_cache: tuple[tuple[str, ...], ...] = ()
    profile: str | None = None
    mountpoint: Path = Path("~/vbo")
    release: tuple[str, ...] = ()
    offline: bool = False
    cache_dir: Path = msgspec.field(default_factory=lambda: platformdirs.user_cache_path("vbofs"))
    #: Another cache of vbofs, on storage that nodes share; only read.
    lower_cache: Path | None = None
    #: Who writes it, by name or number, if neither root nor who mounts.
    lower_cache_owner: str = ""
    #: Bytes; None: a fifth of the disk, 100 GB at the most.
    cache_size: int | None = None
    #: Bytes of the disk that the cache leaves free; None: a twentieth.
    keep_free: int | None = None
    #: Bytes that the daemon may take, whatever its readers do.
    memory: int = 256_000_000
    allow_other: bool = False
    log_file: Path | None = None
    log_format: Literal["text", "json"] = "text"
    #: Where what is read is recorded.
    record: Path | None = None
    verbose: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: Requests under way at once.
    connections: Annotated[int, msgspec.Meta(ge=1, le=256)] = 64
    #: Seconds for which a request is tried again before its reader gets EIO.
    timeout: Positive = 60.0
    #: Fetch the metadata of HDF5 files ahead of whoever follows their pointers.
    hdf5_chase: bool = True
    #: Seconds between two looks for new releases.
    refresh_interval: Annotated[float, msgspec.Meta(ge=0)] = 600.0
    #: Where Prometheus asks; None: nowhere.
    metrics_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    metrics_address: str = "127.0.0.1"
    #: Where the node exporter's textfile collector looks; None: nowhere.
    metrics_file: Path | None = None
    #: Seconds between two writings of it.
    metrics_interval: Annotated[float, msgspec.Meta(ge=1)] = 15.0


FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def load(
    options: Mapping[str, object],
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Merge *options* (None: not given) over ``VBOFS_*`` over the file.  SettingsInvalid on the
    first value that is wrong, naming where it stands."""
    given: dict[str, Any] = {}
    for label, name, value in [*_from_file(environ, file), *_from_environ(environ)]:
        given[name] = _checked(label, name, value)
    for name, value in options.items():
        if value is not None:
            given[name] = _checked(f"--{name.replace('_', '-')}", name, value)
    return _completed(Settings(**given))


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the settings file is looked for when none is named."""
    named = environ.get(FILE_VARIABLE)
    return (
        Path(named).expanduser()
        if named
        else platformdirs.user_config_path("vbofs") / "config.toml"
    )


def _from_file(environ: Mapping[str, str], file: Path | None) -> Iterator[tuple[str, str, object]]:
    path = file or config_file(environ)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if file or FILE_VARIABLE in environ:
            raise SettingsInvalid(f"{path}: there is no such configuration file") from error
        return
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsInvalid(f"{path}: cannot be read as TOML: {error}") from error
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in FIELDS:
            raise SettingsInvalid(f"{path}: unknown key {key!r}{_suggestion(name, FIELDS)}")
        yield f"{path}: {key}", name, value


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    names = {VARIABLE_PREFIX + name.upper(): name for name in FIELDS}
    for variable, value in environ.items():
        if not variable.startswith(VARIABLE_PREFIX) or variable == FILE_VARIABLE:
            continue
        if variable not in names:
            raise SettingsInvalid(f"unknown variable {variable}{_suggestion(variable, names)}")
        if value:  # An empty variable is an unset one, as in most shells' habits.
            yield variable, names[variable], value


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _checked(label: str, name: str, value: object) -> object:
    """*value* as field *name* wants it; strings are parsed, for a variable has nothing else."""
    try:
        if name in ("cache_size", "keep_free", "memory"):
            value = parse_size(value)
            if name == "memory" and value < LEAST_MEMORY:
                raise ValueError("that is not enough for a daemon; write 128M or more")
        elif name == "site_cache":
            value = parse_chain(str(value))
        elif name == "release":
            value = _release_names(value)
        elif name == "log_format" and value not in ("text", "json"):
            raise ValueError(f"{value!r} is neither text nor json")
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        return msgspec.convert(value, FIELDS[name].type, strict=False, dec_hook=_path)
    except (ValueError, msgspec.ValidationError) as error:
        raise SettingsInvalid(f"{label}: {error}") from error


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise ValueError(f"{value!r} is not a path")


def parse_size(value: object) -> int:
    """Bytes from ``200G``, ``1.5TB``, ``64MiB`` or a number.  ValueError says what was expected."""
    text = str(value).strip()
    match = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([KMGTP]?)(i?)B?", text, re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{text!r} is not a size; write 500M, 100G or 64MiB")
    number, unit, binary = match.groups()
    exponent = " KMGTP".index(unit.upper() or " ")
    return int(float(number) * (1024 if binary else 1000) ** exponent)


def _release_names(value: object) -> list[str]:
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    return [release_name(str(word)) for word in words if str(word).strip()]


def release_name(word: str) -> str:
    """``v1.0.1`` or ``1.0.1`` → ``1.0.1``; ``latest`` stays.  ValueError for anything else."""
    bare = word.strip().removeprefix("v")
    if bare != "latest" and not semver.Version.is_valid(bare):
        raise ValueError(f"{word.strip()!r} is not a release; write v1.0.1 or latest")
    return bare


def _completed(settings: Settings) -> Settings:
    """Fill in the preset, make paths absolute, and check what only the whole can tell."""
    preset = PRESETS.get(settings.dataset)
    if preset is None:
        if not (settings.bucket and settings.project):
            raise SettingsInvalid(
                f"unknown dataset {settings.dataset!r}; known are {', '.join(PRESETS)}"
                " (another one needs --bucket and --project)"
            )
        preset = Preset("", "", "us-east-1")
    done = msgspec.structs.replace(
        settings,
        bucket=settings.bucket or preset.bucket,
        project=(settings.project or preset.project).strip("/"),
        region=settings.region or preset.region,
        mountpoint=_mountpoint(settings.mountpoint),
        cache_dir=_absolute(settings.cache_dir),
        # No stat(2) of it: shared storage may hang.
        lower_cache=settings.lower_cache and Path(os.path.abspath(_expanded(settings.lower_cache))),
        log_file=settings.log_file and _absolute(settings.log_file),
        metrics_file=settings.metrics_file and _absolute(settings.metrics_file),
        record=settings.record and _absolute(settings.record),
    )
    _check_names(done)
    return done


def _absolute(path: Path) -> Path:
    return Path(os.path.realpath(_expanded(path)))


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # "Could not determine home directory", "~nobody"
        raise SettingsInvalid(f"{path}: {error}") from error


def _mountpoint(path: Path) -> Path:
    """As realpath(3) has it, but with no stat(2) of what is mounted there: if it hangs, so would
    whoever came to unmount it."""
    path = _expanded(path)
    for _ in range(MOST_LINKS):
        if path.name in ("", ".."):
            break
        path = Path(os.path.realpath(path.parent), path.name)
        try:
            path = path.parent / os.readlink(path)
        except OSError:  # Mostly: it is no link.
            return path
    return Path(os.path.realpath(path))


def check_apart(settings: Settings) -> None:
    """SettingsInvalid where mounting would cover the daemon's own files: a daemon that looks for
    them in its own mount waits for itself for ever."""
    mountpoint = settings.mountpoint
    files = {
        "--cache-dir": settings.cache_dir,
        "--lower-cache": settings.lower_cache,
        "--log-file": settings.log_file,
        "--metrics-file": settings.metrics_file,
        "--record": settings.record,
    }
    for label, path in files.items():
        if path is not None and path.is_relative_to(mountpoint):
            raise SettingsInvalid(f"{label}: {path} lies in the mountpoint {mountpoint}")
    if settings.lower_cache == settings.cache_dir:
        raise SettingsInvalid(f"--lower-cache: {settings.lower_cache} is the --cache-dir itself")
    if mountpoint.is_relative_to(settings.cache_dir):
        raise SettingsInvalid(f"the mountpoint {mountpoint} lies in the cache; name another place")


def _check_names(settings: Settings) -> None:
    if not BUCKET_NAME.fullmatch(settings.bucket):
        raise SettingsInvalid(f"--bucket: {settings.bucket!r} is not the name of an S3 bucket")
    if not PROJECT_NAME.fullmatch(settings.project):
        raise SettingsInvalid(f"--project: {settings.project!r} is not a prefix in a bucket")
    if not REGION_NAME.fullmatch(settings.region):
        raise SettingsInvalid(f"--region: {settings.region!r} is not a region; write us-west-2")
    if settings.endpoint_url is not None and not is_server(settings.endpoint_url):
        raise SettingsInvalid(
            f"--endpoint-url: {settings.endpoint_url!r} is not a URL; write http://host:port"
        )
