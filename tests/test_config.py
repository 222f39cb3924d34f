"""Settings: options over variables over the file; a wrong value is one line that says where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbofs.config import FIELDS, Settings, config_file, load, parse_size, release_name
from vbofs.errors import SettingsInvalid
from vbofs.presets import PRESETS


@pytest.fixture
def write(tmp_path):
    """``write(text)``: a configuration file."""

    def make(text: str | bytes) -> Path:
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def refused(text, *, options=None, environ=None, file=None):
    """The one line that *text* is part of."""
    with pytest.raises(SettingsInvalid) as caught:
        load(options or {}, environ or {}, file)
    message = str(caught.value)
    assert text in message
    assert "\n" not in message
    return message


# --- who is heard


def test_with_nothing_given_the_dataset_is_the_one_of_the_name(home):
    settings = load({}, {})
    assert (settings.bucket, settings.project, settings.region) == PRESETS["visual-behavior-ophys"]
    assert settings.mountpoint == home / "vbo"
    assert settings.cache_dir == home / "cache" / "vbofs"
    assert settings.release == ()


def test_an_option_is_heard_before_a_variable_and_that_before_the_file(write):
    file = write("connections = 1\ntimeout = 1\ncache_size = '1K'")
    environ = {"VBOFS_CONNECTIONS": "2", "VBOFS_TIMEOUT": "2"}
    settings = load({"connections": 3}, environ, file)
    assert (settings.connections, settings.timeout, settings.cache_size) == (3, 2, 1000)


def test_an_option_that_was_not_given_and_an_empty_variable_say_nothing(write):
    settings = load({"connections": None}, {"VBOFS_CONNECTIONS": ""}, write("connections = 5"))
    assert settings.connections == 5


def test_every_setting_has_its_variable():
    texts = {
        "verbose": "2",
        "cache_size": "1G",
        "keep_free": "10G",
        "release": "v1.0.0",
        "memory": "1G",
    }
    texts |= {"connections": "7", "timeout": "1.5", "refresh_interval": "0"}
    texts |= {"dataset": "visual-behavior-neuropixels", "endpoint_url": "http://127.0.0.1:1"}
    texts |= {"site_cache": "http://cache1:8080|http://cache2:8080;http://other:8080"}
    texts |= {"cache_dir": "cache", "log_file": "log"}  # Not in the mountpoint.
    texts |= {"log_format": "json", "metrics_port": "9464", "metrics_interval": "15"}
    texts |= {"metrics_file": "vbo.prom"}
    flags = {name for name, field in FIELDS.items() if field.type is bool}
    texts |= dict.fromkeys(flags, "true")
    environ = {f"VBOFS_{name.upper()}": texts.get(name, "some-word") for name in FIELDS}
    settings = load({}, environ)
    assert {getattr(settings, flag) for flag in flags} == {True}
    assert (settings.verbose, settings.cache_size, settings.release) == (2, 10**9, ("1.0.0",))
    assert settings.mountpoint == Path.cwd() / "some-word"


def test_a_key_of_the_file_may_be_spelled_as_its_option(write):
    assert load({}, {}, write("cache-size = 5")).cache_size == 5


@pytest.mark.parametrize(
    "value", ["v1.0.0,latest", ["1.0.0", "latest"], ("v1.0.0", "latest"), " 1.0.0 , latest ,"]
)
def test_releases_are_named_in_any_spelling(value):
    assert load({"release": value}, {}).release == ("1.0.0", "latest")


def test_a_dataset_of_ones_own_needs_a_bucket_and_a_project():
    refused("--bucket and --project", options={"dataset": "mine"})
    settings = load({"dataset": "mine", "bucket": "my-bucket", "project": "/a/b/"}, {})
    assert (settings.bucket, settings.project, settings.region) == ("my-bucket", "a/b", "us-east-1")


def test_paths_are_made_absolute_and_links_in_them_resolved(tmp_path, monkeypatch, home):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    settings = load({"mountpoint": "link/x/../y", "cache_dir": "~/c"}, {})
    assert settings.mountpoint == tmp_path / "real" / "y"
    assert settings.cache_dir == home / "c"


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        load({}, {}).connections = 5


# --- the file


def test_the_file_is_looked_for_at_home_unless_it_is_named(home):
    assert config_file({}) == home / "config" / "vbofs" / "config.toml"
    assert config_file({"VBOFS_CONFIG": "~/x.toml"}) == home / "x.toml"
    (home / "config" / "vbofs").mkdir(parents=True)
    config_file({}).write_text("connections = 9")
    assert load({}, {}).connections == 9


def test_a_file_that_was_named_must_be_there(tmp_path):
    path = tmp_path / "nobody.toml"
    refused(f"{path}: there is no such configuration file", file=path)
    refused("there is no such configuration file", environ={"VBOFS_CONFIG": str(path)})


FILES = [
    b"connections = ",
    b"\xff\xfe",
    b"a = " + b"[" * 100_000,
    b"connections = 1\nconnections = 2",
    b"mountpoint = '\n'",
]


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_a_file_that_is_not_toml_is_said_by_name(write, text):
    file = write(text)
    refused(f"{file}: cannot be read as TOML", file=file)


def test_a_directory_in_the_files_place_is_said(tmp_path):
    refused(f"{tmp_path}: cannot be read", file=tmp_path)


def test_an_unknown_key_or_variable_suggests_the_known_one(write):
    file = write("conections = 5")
    refused(f"{file}: unknown key 'conections'; did you mean 'connections'?", file=file)
    refused("did you mean 'VBOFS_OFFLINE'", environ={"VBOFS_OFLINE": "1"})
    refused("unknown variable VBOFS_", environ={"VBOFS_": "1"})


# --- wrong values

WRONG = {
    "dataset": ["nobody"],
    "bucket": ["", "a", "UPPER", "a/b", "-a-", "a" * 64, "a\nb", "bücket"],
    "project": ["..\n", "a b", "a//b", "a?b", "ü", "a\0b"],
    "region": ["us west", "us_west", "évreux", "us-west-2\n"],
    "endpoint_url": [
        "127.0.0.1:5000",
        "ftp://host",
        "http://",
        "http://:80",
        "http://host:port",
        "http://host:0",
        "http://host:99999",
        "http://user:secret@host",
        "http://host?x=1",
        "http://host#x",
        "http://[::1",
        "http://ho st",
        "http://host\n",
        "http://h\0st",
    ],
    "mountpoint": ["a\0b", "~nobody-of-that-name/x"],
    "cache_dir": ["a\0b", "~nobody-of-that-name/x"],
    "log_file": ["a\0b", "~nobody-of-that-name/x"],
    "release": ["1.0", "v1", "newest", "1.0.0/..", "01.0.0", "1.0.0\n2.0.0"],
    "cache_size": ["lots", "-1", "1X", "1.5.5G", "1 000", "9" * 400, "nan", "0x10"],
    "keep_free": ["lots", "-1"],
    "memory": ["lots", "-1", "127M", "0"],
    "connections": ["0", "257", "-1", "1.5", "many"],
    "timeout": ["0", "-1", "soon", "nan"],
    "refresh_interval": ["-1", "often", "nan"],
    "verbose": ["-1", "very"],
    "offline": ["maybe", "2"],
    "allow_other": ["maybe", "2"],
}
CASES = [(name, value) for name, values in WRONG.items() for value in values if value]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_wrong_option_is_one_line_that_names_it(name, value):
    option = f"--{name.replace('_', '-')}"
    if name == "dataset" or value.startswith("~nobody"):
        option = value[:5]
    refused(option, options={name: value})


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_wrong_variable_is_one_line(name, value):
    if "\0" in value:
        return  # No variable holds one.
    message = refused("", environ={f"VBOFS_{name.upper()}": value})
    assert name.replace("_", "-") in message.lower().replace("_", "-") or value[:5] in message


FILE_VALUES = [
    ("connections", "'many'"),
    ("connections", "[1]"),
    ("connections", "2000-01-01"),
    ("timeout", "{}"),
    ("timeout", "nan"),
    ("offline", "'maybe'"),
    ("mountpoint", "5"),
    ("mountpoint", "''"),
    ("mountpoint", "[]"),
    ("cache_size", "true"),
    ("cache_size", "-5"),
    ("cache_size", "[]"),
    ("keep_free", "[]"),
    ("release", "[1]"),
    ("release", "{a = 1}"),
    ("dataset", "5"),
    ("endpoint_url", "5"),
]


@pytest.mark.parametrize(("name", "value"), FILE_VALUES)
def test_a_wrong_value_in_the_file_is_one_line_that_names_file_and_key(write, name, value):
    file = write(f"{name} = {value}")
    refused(f"{file}: {name}: ", file=file)


@given(st.sampled_from(sorted(FIELDS)), st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_for_any_setting_is_understood_or_is_one_line(name, text):
    try:
        assert isinstance(load({name: text}, {}), Settings)
    except SettingsInvalid as error:
        assert "\n" not in str(error)


# --- sizes and names


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (1024, 1024),
        ("5B", 5),
        ("500M", 500 * 10**6),
        ("64MiB", 64 << 20),
        ("64Mi", 64 << 20),
        ("1.5TB", 15 * 10**11),
        (" 2 g ", 2 * 10**9),
        ("1PiB", 1 << 50),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text):
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert "is not a size" in str(error)


def test_a_release_is_named_with_and_without_its_v():
    assert release_name("v1.0.1") == release_name("1.0.1") == "1.0.1"
    assert release_name(" latest ") == "latest"


def test_no_variable_of_ours_is_set_in_these_tests():
    assert not [name for name in os.environ if name.startswith("VBOFS_")]
