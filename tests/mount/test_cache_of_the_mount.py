"""Commands that are told no dataset and no cache: they mean those of the mount that there is."""

from __future__ import annotations

import pytest

from vbofs import errors

ONE = "behavior_sessions/one.nwb"


@pytest.fixture
def mounted(machine, s3, published):
    """The only mount, of another server and with another cache than commands have by themselves."""
    published.release("1.0.0", {ONE: 1000})
    return machine.mount("--endpoint-url", s3.url, "--cache-dir", str(machine.root / "scratch"))


def test_they_fetch_into_its_cache_and_look_after_that(machine, mounted):
    scratch = machine.root / "scratch"
    outcome = machine.run("prefetch", "v1.0.0")
    assert outcome.status == 0, outcome
    assert f"fetched by the mount {mounted.path}" in outcome.out
    assert machine.run("cache").out.startswith(f"{scratch}: ")
    assert "1 whole file" in machine.run("verify", "--all").out
    assert machine.run("urls", "v1.0.0").out.count("versionId") == 1
    assert str(mounted.path) in machine.run("releases").out
    assert machine.run("export", "there").status == 0
    assert machine.run("evict", "--all").out.startswith("1 file evicted")
    assert machine.run("import", "there").out.startswith("1 file imported")
    assert not machine.cache.exists()


def test_a_cache_that_is_named_is_the_one_that_is_meant(machine, mounted, s3):
    (mounted / f"v1.0.0/{ONE}").read_bytes()
    other = machine.root / "other"
    named = {"VBOFS_ENDPOINT_URL": s3.url, "VBOFS_CACHE_DIR": str(other)}
    for outcome in (
        machine.run("evict", "--all", "--endpoint-url", s3.url, "--cache-dir", str(other)),
        machine.run("evict", "--all", **named),
        machine.run("find", "--offline", "--cache-dir", str(other)),
    ):
        assert outcome.status != 0
        assert str(other) in outcome.err  # Nothing is cached there.
    assert "1 file evicted" in machine.run("evict", "--all").out


def test_offline_names_no_other(machine, mounted):
    (mounted / "v1.0.0/behavior_sessions").stat()
    assert machine.run("cite", "v1.0.0", "--offline").status == 0
    outcome = machine.run("prefetch", "v1.0.0", "--offline")
    assert outcome.status == errors.PrefetchIncomplete.exit_status
    assert "runs with --offline" in outcome.err


def test_an_unset_variable_in_a_script_evicts_nothing(machine, mounted):
    (mounted / f"v1.0.0/{ONE}").read_bytes()
    outcome = machine.run("evict", str(mounted.path), "--where", "")
    assert outcome.status == errors.QueryInvalid.exit_status
    assert "1 file evicted" in machine.run("evict", str(mounted.path)).out


def test_a_path_on_a_mount_that_cannot_be_asked_means_no_other_dataset(machine, mounted, s3):
    (mounted / f"v1.0.0/{ONE}").read_bytes()
    machine.expect("killed")
    mounted.kill()
    path = str(mounted / "v1.0.0")
    for verb in ("prefetch", "evict", "verify", "cache", "urls"):
        outcome = machine.run(verb, path)
        assert outcome.status == errors.NotMounted.exit_status, outcome
        assert outcome.err.startswith(f"vbofs: {mounted.path} is another user's, or its daemon is")
        assert outcome.err.count("\n") == 1
    words = ("--endpoint-url", s3.url, "--cache-dir", str(machine.root / "scratch"))
    assert "1 file evicted" in machine.run("evict", path, *words).out


def test_the_usual_dataset_by_its_name_is_not_that_of_the_mount(machine, mounted):
    outcome = machine.run("find", "--dataset", "visual-behavior-ophys", "--offline")
    assert outcome.status == errors.NoReleases.exit_status
    assert str(machine.cache) in outcome.err


def test_a_mount_that_is_what_the_variables_say_is_the_one_that_is_meant(machine, mounted, s3):
    (mounted / f"v1.0.0/{ONE}").read_bytes()
    outcome = machine.run("evict", "--all", VBOFS_ENDPOINT_URL=s3.url)
    assert outcome.out.startswith("1 file evicted"), outcome
