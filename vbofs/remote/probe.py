"""One request that wants nothing but an answer: for ``vbofs doctor``.

It goes where the daemon's requests go, through the same proxies and with the same trust.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies, should_bypass_proxies

from ..config import Settings
from .s3_errors import error_of

#: Seconds.
PATIENCE = 10


class Endpoint(NamedTuple):
    """Where requests go; *proxy* is "" where they go there by themselves."""

    url: str
    host: str
    port: int
    proxy: str


class Pulse(NamedTuple):
    """An answer, whatever it says.  *skew*: seconds by which this machine's clock is ahead, None
    where the server has not said what time it is."""

    status: int
    seconds: float
    skew: float | None


def endpoint_of(settings: Settings) -> Endpoint:
    """Where the daemon would ask."""
    url = settings.endpoint_url or (
        f"https://s3.{settings.region}.amazonaws.com/{settings.bucket}"
        if "." in settings.bucket  # Its name is in no certificate.
        else f"https://{settings.bucket}.s3.{settings.region}.amazonaws.com"
    )
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxies = {} if should_bypass_proxies(url) else get_environ_proxies(url)
    return Endpoint(url, parts.hostname or "", port, proxies.get(parts.scheme, ""))


def proxy_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that lead elsewhere, as they are set."""
    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {name: value for name, value in environ.items() if name.lower() in names and value}


def pulse(settings: Settings) -> Pulse:
    """Ask for nothing in particular.  One of the errors that the daemon would report."""
    try:
        return _pulse(settings, endpoint_of(settings).url)
    except Exception as error:
        raise error_of(error, settings, "an answer") from error


def _pulse(settings: Settings, url: str) -> Pulse:
    # As the daemon has it: anonymous is anonymous, whatever AWS_PROFILE says.
    nobody = None if settings.profile else {"profile": (None, None, None, None)}
    core = botocore.session.Session(nobody, profile=settings.profile)
    session = URLLib3Session(
        verify=core.get_config_variable("ca_bundle") or True,
        proxies=get_environ_proxies(url),
        timeout=(PATIENCE, PATIENCE),
    )
    with contextlib.closing(session):
        before = time.time()
        response = session.send(AWSPreparedRequest("HEAD", f"{url}/", {}, None, False))
        after = time.time()
    middle = (before + after) / 2
    return Pulse(int(response.status_code), after - before, _skew(response.headers, middle))


def _skew(headers: Mapping[str, str], now: float) -> float | None:
    said = {name.lower(): value for name, value in headers.items()}.get("date", "")
    try:
        return now - parsedate_to_datetime(said).timestamp()
    except (ValueError, OverflowError):
        return None
