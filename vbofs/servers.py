"""Addresses of HTTP servers, as settings write them.  Words only: nobody is asked anything."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: What may end a chain, as in CVMFS_HTTP_PROXY: what no cache gives comes from the origin.
DIRECT = "DIRECT"
#: Caches in one chain; each is a client with connections of its own.
MOST_CACHES = 16


def is_server(url: str) -> bool:
    """Whether *url* names an HTTP server, and perhaps a path on it, and nothing else."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    # urlsplit drops line breaks; boto3 trips over blanks.
    odd = re.search(r"[^!-~]", url) or parts.username or parts.query or parts.fragment
    return bool(well_formed and not odd)


def parse_chain(text: str) -> list[list[str]]:
    """``http://a|http://b;http://c;DIRECT`` → groups of URLs, the first to be tried first.

    ``|`` joins caches that share the load, ``;`` those that stand in for one another.  ValueError
    says what is wrong.
    """
    steps = [step.strip() for step in text.split(";")]
    if steps[-1].upper() == DIRECT:
        steps.pop()
    groups = [[url.strip().rstrip("/") for url in step.split("|")] for step in steps]
    flat = [url for group in groups for url in group]
    for url in flat:
        if url.upper() == DIRECT:
            raise ValueError(f"{DIRECT} can only stand at the end, after a ';'")
        if not is_server(url):
            raise ValueError(f"{url!r} is not a URL; write http://cache1:8080|http://cache2:8080")
        if flat.count(url) > 1:
            raise ValueError(f"{url} is named twice")
    if len(flat) > MOST_CACHES:
        raise ValueError(f"{len(flat)} caches are too many; {MOST_CACHES} may be named")
    return groups
