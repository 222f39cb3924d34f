"""What S3, HTTP, TLS and the network say, in our own error family.

One line each, with the culprit and what to do about it: these messages reach the user's terminal.
Sources: the S3 API reference, "Error responses"; botocore/exceptions.py; urllib3/exceptions.py.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from botocore import exceptions as botocore_errors
from urllib3.util.ssl_match_hostname import CertificateError

from ..config import Settings
from ..errors import (
    AccessDenied,
    BucketMissing,
    ClockSkewed,
    CredentialsMissing,
    EndpointDown,
    NetworkUnreachable,
    ObjectMissing,
    RemoteError,
    VbofsError,
    WrongRegion,
    WrongResponse,
)
from .protocol import SinkFailed

_CREDENTIALS = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.ProfileNotFound,
    botocore_errors.TokenRetrievalError,
    botocore_errors.UnauthorizedSSOTokenError,
)
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
#: What ssl says of a certificate, and what urllib3, which compares names by itself.
_UNTRUSTED = (ssl.SSLCertVerificationError, CertificateError)
_SIGNED = re.compile(r"\?[^\s\"']*X-Amz-[^\s\"']*", re.IGNORECASE)
_CLOCK = re.compile(r"not yet valid|has expired", re.IGNORECASE)


class Answer(NamedTuple):
    """An HTTP answer that is not what was wanted.  *code* is S3's, "" where the body names none."""

    status: int
    code: str
    text: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, error: botocore_errors.ClientError) -> Answer:
        response = error.response
        meta = response.get("ResponseMetadata", {})
        return cls(
            int(meta.get("HTTPStatusCode", 0)),
            str(response.get("Error", {}).get("Code", "")),
            str(response.get("Error", {}).get("Message", "")),
            {str(k).lower(): str(v) for k, v in meta.get("HTTPHeaders", {}).items()},
        )


def error_of_answer(answer: Answer, settings: Settings, subject: str) -> RemoteError:
    """The error that *answer*, about *subject*, amounts to."""
    code, status, text = _printable(answer.code), answer.status, _printable(answer.text)
    where = f"the bucket {settings.bucket}{_at(settings)}"
    if code == "NoSuchBucket":
        return BucketMissing(
            f"{where} does not exist; check --dataset, --bucket and --endpoint-url"
        )
    if code in ("RequestTimeTooSkewed", "RequestExpired"):
        return ClockSkewed(f"{where} refuses this machine's clock; set it right (timedatectl)")
    if _is_elsewhere(code, status):
        region = _printable(answer.headers.get("x-amz-bucket-region", ""))
        hint = f"it is in {region}: use --region {region}" if region else "use another --region"
        return WrongRegion(f"{where} is not in {settings.region}; {hint}")
    if status in (401, 403):
        return AccessDenied(f"{where} denies {subject} ({code or status}){_credentials(settings)}")
    if status in (404, 405, 410) or code in ("NoSuchKey", "NoSuchVersion", "404"):
        return ObjectMissing(f"{where} no longer has {subject} ({code or status})")
    if status == 200:
        return WrongResponse(
            f"{where} answered with the whole of {subject}, not with a range of it"
        )
    if status >= 500 or status in (408, 429) or code == "SlowDown":
        return RemoteError(f"{where} answered {status} {code or text} for {subject}")
    return _Refused(f"{where} answered {status} {code or text} for {subject}")


class _Refused(WrongResponse):
    """An answer that another attempt will not change: 400, 412, 416."""

    retryable = False


def _is_elsewhere(code: str, status: int) -> bool:
    return status in (301, 302, 303, 307, 308) or code in (
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    )


def _credentials(settings: Settings) -> str:
    if settings.profile:
        return f"; the credentials of --profile {settings.profile} do not suffice"
    return "; if it is not public, name credentials with --profile"


def _at(settings: Settings) -> str:
    return f" at {settings.endpoint_url}" if settings.endpoint_url else ""


def error_of(error: Exception, settings: Settings, subject: str) -> VbofsError | SinkFailed:
    """Anything that botocore, urllib3, ssl or the socket raised while asking for *subject*.

    What an answer makes them stumble over may be of any class.
    """
    if isinstance(error, VbofsError | SinkFailed):
        return error
    if isinstance(error, botocore_errors.ClientError):
        return error_of_answer(Answer.of(error), settings, subject)
    if isinstance(error, _CREDENTIALS):
        return CredentialsMissing(f"--profile {settings.profile}: {_one_line(error)}")
    causes = list(_causes(error))
    where = settings.endpoint_url or f"S3 in {settings.region}"
    if any(isinstance(cause, _UNTRUSTED) for cause in causes):
        return _untrusted(where, causes)
    if any(_has_no_route(cause) for cause in causes):
        return NetworkUnreachable(
            f"no way to {where} (no name service or no route); check the network and the"
            " proxy variables, or use --offline for what is cached"
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return EndpointDown(
            f"nothing answers at {where}: the connection is refused; check --endpoint-url,"
            " or use --offline for what is cached"
        )
    if isinstance(error, botocore_errors.ConnectTimeoutError):
        return EndpointDown(
            f"nothing answers at {where}; check the network and --endpoint-url,"
            " or use --offline for what is cached"
        )
    return RemoteError(f"{where}: {subject} was not answered: {_one_line(error)}")


def _untrusted(where: str, causes: list[BaseException]) -> RemoteError:
    said = _printable(next(str(c) for c in causes if isinstance(c, _UNTRUSTED)))
    if _CLOCK.search(said):
        return ClockSkewed(f"{where}: {said}; set this machine's clock right (timedatectl)")
    if any(isinstance(cause, CertificateError) for cause in causes):
        return AccessDenied(f"{where} has a certificate for another name: {said}")
    return AccessDenied(f"{where} is not trusted: {said}; name your CA file in AWS_CA_BUNDLE")


def _has_no_route(cause: BaseException) -> bool:
    if isinstance(cause, socket.gaierror):
        return True
    return isinstance(cause, OSError) and cause.errno in _NO_ROUTE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and everything under it; botocore and urllib3 hide causes in three places."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
        waiting.append(getattr(cause, "kwargs", {}).get("error"))


def _one_line(error: BaseException) -> str:
    # A URL that boto3 has signed opens the object to whoever finds it in a log.
    said = _SIGNED.sub("?…", str(error))
    return _printable(said) or type(error).__name__


def _printable(said: str) -> str:
    """A server's words on one line of a log or a terminal, with no say in how it looks."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(said.split()))[:300]
