"""boto3's S3 client as vbofs wants it: anonymous unless told, and one attempt at everything."""

from __future__ import annotations

from typing import Any

import boto3
import botocore
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

from .._version import __version__
from ..config import Settings
from .s3_bodies import BoundedAnswers
from .s3_ranges import usual_patience

AGENT = f"vbofs/{__version__} botocore/{botocore.__version__}"


class _OneService(Loader):  # type: ignore[misc]  # botocore has no types.
    """Knows that there is S3 without reading 400 directories of other services' models: a tenth of
    the time that a mount takes."""

    def list_available_services(self, type_name: str) -> list[str]:
        return ["s3"]


#: One for all: what it has loaded is 12 MB, and a client for each of a site's caches wants it.
_LOADER = _OneService()


def client(core: botocore.session.Session, settings: Settings) -> Any:
    """A client of S3 under *settings*, with the credentials of *core*."""
    patience = usual_patience()
    custom = settings.endpoint_url is not None
    config = Config(
        signature_version="s3v4" if settings.profile else botocore.UNSIGNED,
        # Retrying does that, with one deadline for everything.
        retries={"total_max_attempts": 1},
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        max_pool_connections=settings.connections,
        # A checksum of the whole object says nothing about a range of it.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if custom else "auto"},
        # Where to ask is a setting of ours; AWS_ENDPOINT_URL is for other programs.
        ignore_configured_endpoint_urls=True,
        user_agent=AGENT,
    )
    core.register_component("data_loader", _LOADER)
    session = boto3.Session(botocore_session=core, region_name=settings.region)
    made = session.client("s3", endpoint_url=settings.endpoint_url, config=config)
    made.meta.events.register("before-call.s3", _stay_in_region)
    made.meta.events.register("before-send.s3", BoundedAnswers(made).send)
    return made


def _stay_in_region(params: dict[str, Any], **_: object) -> None:
    """Keep botocore from following a redirect to another region: the data plane would not, and a
    server that we were told to use has no say in where else we go."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
