"""The way to the bucket, step by step, and how fast it is."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from ..config import Settings
from ..dataset import Dataset
from ..errors import ClockSkewed, VbofsError
from ..health import duration
from ..model import Blob, Extent
from ..remote.protocol import Collected, Listed
from ..remote.retrying import Retrying
from .finding import Check, Patient, Said, ok, problem, warning
from .redaction import without_passwords

if TYPE_CHECKING:
    from ..remote.probe import Endpoint
    from ..remote.s3 import S3ObjectStore

#: Seconds.
CONNECT = 10.0
LISTING = 10.0
#: Seconds by which a clock may be wrong; S3 refuses signatures at 15 minutes.
NOTICEABLE, REFUSED = 60.0, 600.0
#: Bytes fetched to measure, over so many connections; and what is slow, in seconds and bytes/s.
SAMPLE, STREAMS = 8 << 20, 4
SLOW_ANSWER, SLOW_BYTES = 0.5, 2 * 1000**2
#: Attempts of which the fastest counts.
ATTEMPTS = 3


def asking(check: Check) -> Check:
    """Of a check that asks the bucket: it is left out where that is not wanted, or in vain."""

    @wraps(check)
    def asked(patient: Patient) -> Iterator[Said]:
        if patient.settings.offline:
            yield ok("not asked, for the settings say offline")
        elif patient.cut_off:
            yield warning("not asked: there is no way to the bucket")
        else:
            try:
                yield from check(patient)
            except VbofsError:
                patient.cut_off = True
                raise

    return asked


def proxies(patient: Patient) -> Iterator[Said]:
    """What the environment says, for a forgotten variable explains many a failure."""
    from ..remote.probe import endpoint_of, proxy_variables

    found = proxy_variables()
    if not found:
        yield ok("none in the environment")
        return
    listed = ", ".join(f"{name}={without_passwords(value)}" for name, value in found.items())
    through = endpoint_of(patient.settings).proxy
    where = f"requests go through {without_passwords(through)}" if through else "none is used"
    yield ok(f"{where} ({listed})")


@asking
def names(patient: Patient) -> Iterator[Said]:
    """Whether the endpoint's, or the proxy's, name is known."""
    host, _ = _first_hop(patient.settings)
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        patient.cut_off = True
        yield problem(
            f"{host} is not known: {getattr(error, 'strerror', None) or error}",
            f"getent hosts {host}; cat /etc/resolv.conf",
        )
    else:
        yield ok(f"{host} is {', '.join(sorted(found)[:3])}")


@asking
def endpoint(patient: Patient) -> Iterator[Said]:
    """Whether something accepts connections there, is trusted, and answers."""
    from ..remote.probe import endpoint_of, pulse

    host, port = _first_hop(patient.settings)
    try:
        socket.create_connection((host, port), CONNECT).close()
    except OSError as error:
        patient.cut_off = True
        yield problem(
            f"{host} port {port} cannot be reached: {error.strerror or error}",
            f"curl -v {endpoint_of(patient.settings).url}",
        )
        return
    try:
        answer = pulse(patient.settings)
    except VbofsError as error:
        patient.cut_off = True
        cure = "sudo timedatectl set-ntp true" if isinstance(error, ClockSkewed) else ""
        yield problem(str(error), cure)
        return
    where = endpoint_of(patient.settings)
    trust = "over TLS, with a certificate that is trusted" if _is_tls(where) else "without TLS"
    yield ok(f"{where.url} answers {trust}, in {answer.seconds * 1000:.0f} ms")


@asking
def clock(patient: Patient) -> Iterator[Said]:
    """This machine's clock, beside the server's."""
    from ..remote.probe import pulse

    skew = pulse(patient.settings).skew
    if skew is None:
        yield ok("not compared: the endpoint does not say what time it is")
        return
    text = f"{duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the endpoint's"
    if abs(skew) > REFUSED:
        yield problem(
            f"{text}: signatures and certificates are refused", "sudo timedatectl set-ntp true"
        )
    elif abs(skew) > NOTICEABLE:
        yield warning(text, "sudo timedatectl set-ntp true")
    else:
        yield ok("right")


@asking
def bucket(patient: Patient) -> Iterator[Said]:
    """Whether it may be listed, and what its manifests say."""
    dataset = trio.run(_dataset, patient.settings)
    for document in dataset.listing.manifests:
        if document.flaw:
            yield warning(
                f"v{document.release} is left out: {document.flaw}", "use another release"
            )
    names = ", ".join(f"v{release}" for release in dataset.releases)
    yield ok(f"{patient.settings.bucket} has {names}; latest is v{dataset.latest}")


@asking
def throughput(patient: Patient) -> Iterator[Said]:
    """How soon an answer begins, and how fast bytes come."""
    seconds, rate, size = trio.run(_measured, patient.settings)
    text = f"first answer in {seconds * 1000:.0f} ms"
    if size:
        text += f", {rate / 1000**2:,.1f} MB/s over {STREAMS} connections ({size / 1000**2:.1f} MB)"
    if seconds > SLOW_ANSWER or (size >= 1 << 20 and rate < SLOW_BYTES):
        yield warning(f"{text}: reads will be slow", f"mtr -rw {_first_hop(patient.settings)[0]}")
    else:
        yield ok(text)


# --- how


def _is_tls(where: Endpoint) -> bool:
    return where.url.startswith("https:")


def _first_hop(settings: Settings) -> tuple[str, int]:
    from ..remote.probe import endpoint_of

    where = endpoint_of(settings)
    if not where.proxy:
        return where.host, where.port
    parts = urlsplit(where.proxy if "//" in where.proxy else f"http://{where.proxy}")
    return parts.hostname or "", parts.port or 80


@contextlib.asynccontextmanager
async def _asking(settings: Settings) -> AsyncIterator[S3ObjectStore]:
    from ..remote.s3 import S3ObjectStore

    remote = S3ObjectStore(settings)
    try:
        yield remote
    finally:
        remote.close()


async def _dataset(settings: Settings) -> Dataset:
    """As a mount would find it, but with nothing remembered and nothing kept."""
    with tempfile.TemporaryDirectory(prefix="vbofs-doctor-") as folder:
        async with _asking(settings) as remote:
            fresh = msgspec.structs.replace(settings, cache_dir=Path(folder))
            return await Dataset.open(Retrying(remote, LISTING), fresh)


async def _measured(settings: Settings) -> tuple[float, float, int]:
    """Seconds to the end of a tiny answer, bytes a second of a larger one, and its size."""
    async with _asking(settings) as remote:
        largest = await _largest(remote, settings)
        if largest is None:
            return 0.0, 0.0, 0
        blob = Blob(largest.version, *largest.facts)
        begun = time.perf_counter()
        await _fetch(remote, blob, Extent(0, 1))  # Opens the connection.
        seconds = time.perf_counter() - begun
        for _ in range(ATTEMPTS):
            begun = time.perf_counter()
            await _fetch(remote, blob, Extent(0, 1))
            seconds = min(seconds, time.perf_counter() - begun)
        size = min(blob.size, SAMPLE)
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for n in range(STREAMS):
                extent = Extent(size * n // STREAMS, size * (n + 1) // STREAMS)
                if extent.size:
                    nursery.start_soon(_fetch, remote, blob, extent)
        return seconds, size / (time.perf_counter() - begun), size


async def _largest(remote: S3ObjectStore, settings: Settings) -> Listed | None:
    """Of the first page of what is published, the largest object."""
    page = await remote.page(f"{settings.project}/")
    found = [one for one in page.listed if one.version.version_id and one.facts.size]
    return max(found, key=lambda one: one.facts.size, default=None)


async def _fetch(remote: S3ObjectStore, blob: Blob, extent: Extent) -> None:
    await remote.fetch(blob, extent, Collected(extent.size))
