"""Chains of caching servers, as an administrator of CVMFS would write them, and as he would not."""

from __future__ import annotations

import re

import pytest

from vbofs.config import load
from vbofs.errors import SettingsInvalid
from vbofs.servers import MOST_CACHES, is_server, parse_chain

A, B, C = "http://a:8080", "https://b.site.org", "http://10.0.0.3:80/s3"


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        (A, [[A]]),
        (f"{A}|{B}", [[A, B]]),
        (f"{A};{B}", [[A], [B]]),
        (f" {A} | {B} ; {C} ; DIRECT ", [[A, B], [C]]),
        (f"{A}/;direct", [[A]]),
        ("DIRECT", []),
    ],
)
def test_a_chain_is_groups_of_caches(text, groups):
    assert parse_chain(text) == groups


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a URL"),
        (f"{A};", "'' is not a URL"),
        (f"{A}||{B}", "'' is not a URL"),
        ("cache1:8080", "'cache1:8080' is not a URL; write http://cache1:8080|http://cache2:8080"),
        ("ftp://a", "is not a URL"),
        ("http://user:secret@a", "is not a URL"),
        ("http://a/?x=1", "is not a URL"),
        (f"{A},{B}", "is not a URL"),
        (f"DIRECT;{A}", "can only stand at the end"),
        (f"{A}|DIRECT;{B}", "can only stand at the end"),
        (f"{A}|{A}/", "is named twice"),
        ("|".join(f"http://c{n}" for n in range(MOST_CACHES + 1)), "too many"),
    ],
)
def test_what_is_no_chain_is_refused_and_says_why(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_chain(text)


def test_the_message_says_where_the_chain_stands():
    with pytest.raises(SettingsInvalid, match=r"--site-cache: 'nonsense' is not a URL"):
        load({"site_cache": "nonsense"}, {})
    assert load({}, {"VBOFS_SITE_CACHE": f"{A}|{B};DIRECT"}).site_cache == ((A, B),)


@pytest.mark.parametrize("url", ["http://a", "https://a:1/b/", "http://[::1]:80"])
def test_an_http_url_is_a_server(url):
    assert is_server(url)


@pytest.mark.parametrize(
    "url", ["", "a", "http://", "http://a:0", "http://a:x", "http://a b", "http://a#b", "http://[",
            "http://ü", "http://a\n", "//a"]
)  # fmt: skip
def test_anything_else_is_none(url):
    assert not is_server(url)
