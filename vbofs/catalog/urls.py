"""The versioned HTTPS URL of an object version: what ``curl`` or a browser can be given.  Pure."""

from __future__ import annotations

from urllib.parse import quote

from ..model import ObjectVersion


def versioned_url(version: ObjectVersion, region: str, endpoint_url: str | None = None) -> str:
    """Where *version* can be fetched by anyone, at Amazon or at *endpoint_url*.

    A bucket with a dot in its name stands in the path: no certificate covers it as a host.
    """
    key, version_id = quote(version.key), quote(version.version_id, safe="")
    if endpoint_url is not None:
        where = f"{endpoint_url.rstrip('/')}/{version.bucket}"
    else:
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{region}.{domain}"
        in_path = "." in version.bucket
        where = (
            f"https://{host}/{version.bucket}" if in_path else f"https://{version.bucket}.{host}"
        )
    return f"{where}/{key}?versionId={version_id}"
