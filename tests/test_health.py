"""What ails a mount, and how vbofs status shows it."""

from __future__ import annotations

import pytest

from tests.test_metrics import DEAD, STATE
from vbofs.cli.screen import Rates, described
from vbofs.health import ailments, duration

NOW = 1.7e9 + 3600
WELL = STATE | {
    "latest": "1.0.1",
    "offline": False,
    "last_error": None,
    "cache": STATE["cache"] | {"dir": "/cache"},
}


def texts(state):
    return [ailment.text for ailment in ailments(state, NOW)]


def screen(state, rates=None):
    return described(state, rates, NOW).plain


def test_a_mount_that_is_well_has_no_ailment():
    assert texts(WELL | {"verifier": STATE["verifier"] | {"condemned": 0}}) == []


def test_a_lost_network_is_said_with_its_age_and_its_reason():
    remote = STATE["remote"] | {"failing_since": NOW - 240, "failing": "nothing answers"}
    (first, *_) = ailments(WELL | {"remote": remote, "network": {"away_since": NOW - 240}}, NOW)
    assert first.grave
    assert first.text == (
        "the network is lost for 4 min: only what is cached can be read (nothing answers)"
    )


def test_a_server_that_answers_with_errors_only_is_said():
    remote = STATE["remote"] | {"failing_since": NOW - 240, "failing": "503 SlowDown"}
    (first, *_) = ailments(WELL | {"remote": remote, "network": {"away_since": None}}, NOW)
    assert first.text == "every request fails for 4 min (503 SlowDown)"


def test_offline_is_what_was_asked_for_and_no_loss():
    remote = STATE["remote"] | {"failing_since": NOW - 240}
    (first, *_) = ailments(WELL | {"remote": remote, "offline": True}, NOW)
    assert not first.grave
    assert first.text.startswith("offline, as asked")


def test_a_cache_that_takes_no_more_is_said():
    said = texts(WELL | {"cache": WELL["cache"] | {"refusing": True}})
    assert any("takes no more blocks" in text for text in said)


def test_a_lower_cache_that_is_away_is_said_with_where_to_look():
    lower = {"dir": "/nfs/vbofs", "away": True}
    (found,) = [one for one in ailments(WELL | {"lower_cache": lower}, NOW) if "lower" in one.text]
    assert (found.grave, found.cure) == (False, "ls -l /nfs/vbofs")
    assert not any("lower" in text for text in texts(WELL | {"lower_cache": None}))


def test_a_sites_cache_that_is_away_is_said():
    sites = [{"url": "http://one", "away": True}, {"url": "http://two", "away": False}]
    assert any(
        "http://one" in text and "two" not in text for text in texts(WELL | {"site_caches": sites})
    )


def test_files_that_are_not_what_was_published_and_manifests_left_out_are_said():
    said = texts(WELL | {"left_out": {"2.0.0": "v2.0.0: no manifest"}})
    assert said == [
        "3 files are not what was published: reading them fails",
        "left out: v2.0.0: no manifest",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [("dead", "has died"), ("hanging", "does not answer"), ("not yours", "protocol 2")],
)
def test_a_mount_without_a_daemon_says_why(state, words):
    absent = DEAD | {"state": state, "error": "the daemon speaks protocol 2"}
    (only,) = ailments(absent, NOW)
    assert words in only.text
    assert words in screen(absent)


def test_another_users_mount_is_no_ailment():
    theirs = DEAD | {"state": "not yours", "error": ""}
    assert texts(theirs) == []
    assert screen(theirs) == "/mnt/dead  visual-behavior-ophys  not yours"


def test_an_older_daemons_state_has_no_ailment_it_does_not_tell():
    old = {k: v for k, v in WELL.items() if k not in ("remote", "verifier", "left_out", "cache")}
    assert texts(old) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (40, "40 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (432000, "5 days")],
)
def test_a_time_is_said_as_people_say_it(seconds, words):
    assert duration(seconds) == words


# --- the screen


def test_the_screen_says_how_full_the_cache_is_and_how_often_it_sufficed():
    said = screen(WELL)
    assert "██████████░░░░░░░░░░ 50%: 5 bytes of 10 bytes in /cache; 2 bytes evicted" in said
    assert "88.9% of the blocks that were read were on disk" in said
    assert "half within 100 ms, 99 % within" in said
    assert "attempts: 3 EndpointDown" in said


def test_the_screen_shows_an_older_daemon_too():
    old = {k: v for k, v in WELL.items() if k not in ("remote", "site_caches")}
    old["blocks"] = {k: v for k, v in WELL["blocks"].items() if k != "hits"}
    old["readers"] = {k: v for k, v in WELL["readers"].items() if k not in ("latency", "failed")}
    assert "3 reads, 4 bytes served\n" in screen(old)


def test_a_path_cannot_move_the_cursor():
    assert "\x1b" not in screen(WELL | {"mountpoint": "/a\x1b[2J\r\n", "last_error": "\x1b[31m"})
    assert "\udcff" in screen(WELL | {"mountpoint": "/a\udcff"})


def test_rates_are_what_happened_between_two_looks():
    later = WELL | {
        "readers": WELL["readers"] | {"reads": 23, "bytes": 4 + 2_000_000},
        "requests": WELL["requests"] | {"get": 17, "received": 99 + 1000},
    }
    rates = Rates.between(WELL, later, 2.0)
    assert rates == (10.0, 1_000_000.0, 5.0, 500.0)
    assert "10 reads/s, 1.0 MB/s served; 5 requests/s, 500 bytes/s fetched" in screen(later, rates)


@pytest.mark.parametrize("before", [None, DEAD, WELL | {"pid": 1}])
def test_there_is_no_rate_between_two_daemons(before):
    assert Rates.between(before, WELL, 2.0) is None
