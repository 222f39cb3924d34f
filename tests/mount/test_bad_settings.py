"""Bad options, variables, configuration files, logs and cache directories."""

from __future__ import annotations

import pytest

from tests.mount.namespaces import run_apart, run_as_nobody
from tests.mount.refusal import assert_refused
from vbofs import errors

FILE = "behavior_sessions/one.nwb"


@pytest.fixture
def here(at_s3, published):
    """A machine where everything else is as it should be."""
    published.release("1.0.0", {FILE: 1000})
    return at_s3


def configure(machine, text):
    path = machine.home / ".config/vbofs/config.toml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    return path


# --- the file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('cache_dri = "/x"', ["unknown key 'cache_dri'", "did you mean 'cache_dir'"]),
        ("[mount]\nrelease = 'v1.0.0'", ["unknown key 'mount'"]),
        ("cache_dir = /x", ["cannot be read as TOML", "line 1"]),
        ('profile = "\xff"', ["cannot be read as TOML"]),
        ("offline = 'perhaps'", ["offline"]),
        ("cache_size = 'big'", ["cache_size", "'big' is not a size"]),
        ("cache_size = true", ["cache_size"]),
        ("connections = 0", ["connections"]),
        ("cache_dir = ''", ["cache_dir", "not a path"]),
        ("release = 3", ["release", "'3' is not a release"]),
    ],
)
def test_a_configuration_file_that_is_wrong_is_named_with_the_key(here, text, words):
    path = configure(here, text)
    outcome = here.run("mount")
    assert_refused(here, outcome, errors.SettingsInvalid, str(path), *words)


def test_a_configuration_file_that_is_named_must_be_there(here):
    outcome = here.run("mount", "--config", "none.toml")
    assert_refused(here, outcome, errors.SettingsInvalid, "none.toml")
    outcome = here.run("mount", VBOFS_CONFIG="/nowhere/else.toml")
    assert_refused(here, outcome, errors.SettingsInvalid, "/nowhere/else.toml")


def test_a_configuration_file_that_cannot_be_read_is_named(here):
    path = configure(here, "offline = false")
    outcome = run_as_nobody(here, "vbofs mount", first=f"chmod 0 {path}")
    assert_refused(here, outcome, errors.SettingsInvalid, str(path), "Permission denied")


# --- options and variables


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--release", "1.x", ["'1.x' is not a release", "v1.0.1 or latest"]),
        ("--dataset", "visual-coding", ["visual-coding", "visual-behavior-neuropixels"]),
        ("--bucket", "No Bucket", ["'No Bucket'"]),
        ("--project", "../secret/", ["--project"]),
        ("--region", "Mars!", ["'Mars!'", "us-west-2"]),
        ("--endpoint-url", "localhost:9000", ["'localhost:9000'", "http://host:port"]),
        ("--endpoint-url", "ftp://host/", ["http://host:port"]),
        ("--endpoint-url", "http://host:99999", ["http://host:port"]),
        ("--cache-size", "200 parsecs", ["not a size", "100G"]),
        ("--cache-dir", "~nobody-at-all/cache", ["~nobody-at-all"]),
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_value(here, option, value, words):
    outcome = here.run("mount", option, value)
    assert_refused(here, outcome, errors.SettingsInvalid, *words)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VBOFS_TIMEOUT", "-1", ["VBOFS_TIMEOUT"]),
        ("VBOFS_TIMEOUT", "nan", ["VBOFS_TIMEOUT"]),
        ("VBOFS_CONNECTIONS", "many", ["VBOFS_CONNECTIONS"]),
        ("VBOFS_CACHEDIR", "/x", ["unknown variable VBOFS_CACHEDIR", "VBOFS_CACHE_DIR"]),
    ],
)
def test_a_variable_that_is_wrong_is_named(here, variable, value, words):
    outcome = here.run("mount", **{variable: value})
    assert_refused(here, outcome, errors.SettingsInvalid, *words)


def test_an_unknown_option_or_verb_is_a_usage_error(here):
    for words in (["mount", "--relaese", "v1.0.0"], ["munt"], ["mount", "a", "b"]):
        outcome = here.run(*words)
        assert outcome.status == 2
        assert "Traceback" not in outcome.err
    assert here.mounts() == []


# --- the log


def test_a_log_that_cannot_be_written_is_named(here):
    (here.home / "file").write_text("")
    outcome = here.run("mount", "--log-file", str(here.home / "file/log"))
    assert_refused(here, outcome, errors.LogUnwritable, "file/log", "--log-file")


# --- the cache


def test_a_cache_on_a_read_only_disk_is_refused(here):
    script = 'mkdir "$ROOT/ro"; mount -t tmpfs -o ro none "$ROOT/ro"; vbofs mount --cache-dir '
    outcome = run_apart(here, script + '"$ROOT/ro/cache"')
    assert_refused(here, outcome, errors.CacheUnwritable, "ro/cache", "Read-only", "--cache-dir")


def test_a_cache_on_a_full_disk_is_refused(here):
    script = """
    mkdir "$ROOT/full"
    mount -t tmpfs -o size=64k none "$ROOT/full"
    head -c 65536 /dev/zero > "$ROOT/full/zeros" || true
    vbofs mount --cache-dir "$ROOT/full/cache"
    """
    outcome = run_apart(here, script)
    assert_refused(here, outcome, errors.CacheFull, "full/cache", "no space", "--cache-dir")


def test_a_disk_that_fills_up_while_mounted_costs_the_keeping_but_no_read(here, published):
    body = bytes(range(256)) * 4096
    published.release("1.1.0", {"behavior_sessions/two.nwb": body})
    (here.root / "truth").write_bytes(body)
    script = """
    mkdir "$ROOT/full"
    mount -t tmpfs -o size=256k none "$ROOT/full"
    vbofs mount --cache-dir "$ROOT/full/cache"
    for time in 1 2; do
        cmp ~/vbo/v1.1.0/behavior_sessions/two.nwb "$ROOT/truth"
    done
    vbofs umount
    """
    here.expect(r"the cache takes no more|cannot be kept: .*No space left")
    outcome = run_apart(here, script)
    assert (outcome.status, outcome.err) == (0, ""), outcome


def test_a_cache_that_the_user_may_not_write_is_refused(here):
    script = 'vbofs mount --cache-dir "$ROOT/theirs"'
    outcome = run_as_nobody(here, script, first='mkdir "$ROOT/theirs"\n')
    assert_refused(here, outcome, errors.CacheUnwritable, "theirs", "another user")


def test_a_file_in_the_caches_place_is_refused(here):
    (here.home / "file").write_text("")
    outcome = here.run("mount", "--cache-dir", str(here.home / "file"))
    assert_refused(here, outcome, errors.CacheUnwritable, str(here.home / "file"))


@pytest.mark.parametrize("text", ["", "vbofs", "rclone 1", "vbofs one", "\xff\xfe"])
def test_a_directory_that_is_no_cache_of_vbofs_is_refused_and_left_alone(here, text):
    cache = here.home / "elsewhere"
    cache.mkdir()
    (cache / "format").write_bytes(text.encode("latin-1"))
    outcome = here.run("mount", "--cache-dir", str(cache))
    assert_refused(here, outcome, errors.CacheUnwritable, str(cache))
    assert (cache / "format").read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("verb", ["mount", "releases"])
def test_a_cache_made_by_a_newer_vbofs_is_refused_and_left_alone(here, verb):
    here.cache.mkdir(parents=True)
    (here.cache / "format").write_text("vbofs 999\n")
    outcome = here.run(verb)
    assert_refused(here, outcome, errors.CacheTooNew, str(here.cache), "newer vbofs", "upgrade")
    assert (here.cache / "format").read_text() == "vbofs 999\n"
