"""Bad buckets, servers and networks: one line and an exit status each."""

from __future__ import annotations

import time

import pytest

from tests.mount.namespaces import run_apart
from tests.mount.published import BUCKET, PROJECT
from tests.mount.refusal import assert_refused
from tests.s3 import Fault
from vbofs import errors

FILE = "behavior_sessions/one.nwb"
SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code><Message>Too far</Message></Error>"
#: Seconds for which a test waits for what does not come.
SHORT = {"VBOFS_TIMEOUT": "0.4"}


@pytest.fixture
def good(published):
    """A dataset with nothing wrong; the faults are the test's."""
    published.release("0.9.0", {FILE: 1000})
    published.release("1.0.0", {FILE: 1000})
    return published


def test_a_missing_bucket_is_named(at_s3, s3):
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.BucketMissing, BUCKET, s3.url, "does not exist")


def test_a_bucket_without_manifests_is_told_from_one_that_is_missing(at_s3, s3):
    s3.put(BUCKET, f"{PROJECT}/release_notes.txt", b"soon")
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.NoReleases, f"{PROJECT}/manifests/", "--project")


def test_a_denied_bucket_suggests_credentials(at_s3, good):
    good.s3.faults.append(Fault(status=403))
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.AccessDenied, BUCKET, "AccessDenied", "--profile")


def test_a_bucket_in_another_region_says_which(at_s3, good):
    good.s3.faults.append(Fault(status=301, headers={"x-amz-bucket-region": "eu-central-1"}))
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.WrongRegion, "us-west-2", "--region eu-central-1")


def test_an_endpoint_that_is_down_suggests_offline(at_s3, good):
    good.s3.down()
    outcome = at_s3.run("mount", **SHORT)
    words = good.url, "refused", "--offline"
    assert_refused(at_s3, outcome, errors.EndpointDown, *words)


def test_no_network_suggests_offline(at_s3):
    url = "http://s3.nowhere.example"
    outcome = run_apart(at_s3, f"vbofs mount --endpoint-url {url}", network=False, **SHORT)
    assert_refused(at_s3, outcome, errors.NetworkUnreachable, url, "--offline")


def test_no_route_is_no_network(at_s3):
    url = "http://192.0.2.1:9000"
    outcome = run_apart(at_s3, f"vbofs mount --endpoint-url {url}", network=False, **SHORT)
    assert_refused(at_s3, outcome, errors.NetworkUnreachable, url, "--offline")


def test_a_clock_that_is_far_off_is_named_as_the_cause(at_s3, good):
    good.s3.faults.append(Fault(status=403, body=SKEWED))
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.ClockSkewed, "clock", "timedatectl")


def test_a_server_that_only_says_slow_down_is_given_up_in_time(at_s3, good):
    good.s3.faults.append(Fault(status=503))
    before = time.monotonic()
    outcome = at_s3.run("mount", **SHORT)
    assert time.monotonic() - before < 5
    assert_refused(at_s3, outcome, errors.RemoteError, "503", "SlowDown")
    assert good.s3.counts()["LIST_VERSIONS"] > 1


@pytest.mark.parametrize(
    "fault",
    [
        {"html": True},
        {"listing": "truncated"},
        {"listing": "malformed"},
        {"listing": "laughs"},
        {"listing": "endless"},
        {"status": 400},
        {"raw": b"220 ftp.example ready\r\n"},
        {"close_at": 100},
        {"reset_at": 100},
        {"location": "http://elsewhere.example/"},
    ],
    ids=str,
)
def test_a_server_that_talks_nonsense_is_refused_in_one_line(at_s3, good, fault):
    good.s3.faults.append(Fault(**fault))
    outcome = at_s3.run("mount", **SHORT)
    kind = next(
        kind
        for kind in (errors.RemoteError, errors.WrongResponse, errors.WrongRegion)
        if kind.exit_status == outcome.status
    )
    assert_refused(at_s3, outcome, kind)


def test_a_manifest_that_cannot_be_read_leaves_its_release_out(at_s3, good):
    good.s3.faults.append(Fault(key=r"v1\.0\.0\.json$", status=404))
    at_s3.expect("WARNING .* the manifest of v1.0.0 is left out")
    mounted = at_s3.mount()
    assert mounted.status()["releases"] == ["0.9.0"]


def test_an_unknown_release_is_refused_and_those_there_are_named(at_s3, good):
    outcome = at_s3.run("mount", "--release", "v1.0.0,v3.0.0")
    assert_refused(at_s3, outcome, errors.UnknownRelease, "3.0.0", "0.9.0, 1.0.0")


def test_offline_with_nothing_cached_is_refused(at_s3, good):
    outcome = at_s3.run("mount", "--offline")
    assert_refused(at_s3, outcome, errors.NoReleases, str(at_s3.cache), "without --offline")
    assert good.s3.requests == []


def test_a_profile_that_does_not_exist_is_named(at_s3, good):
    outcome = at_s3.run("mount", "--profile", "nobody")
    assert_refused(at_s3, outcome, errors.CredentialsMissing, "--profile nobody")


def test_releases_refuses_with_the_same_words_as_mount(at_s3, s3):
    outcome = at_s3.run("releases")
    assert_refused(at_s3, outcome, errors.BucketMissing, BUCKET, "does not exist")
