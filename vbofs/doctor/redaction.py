"""Takes out of a text what is nobody else's business: credentials, passwords, the user's name."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

#: What a URL has between its scheme and its host.
_PASSWORD = re.compile(r"(?<=://)[^\s/@'\"]+@")
_SECRETS = (
    # A signature, and what else makes a presigned URL worth stealing.
    re.compile(
        r"(?i)\b(X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature)=[^\s&'\"]+"
    ),
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"),
    re.compile(
        r"(?i)\b(authorization|cookie|x-amz-security-token|proxy-authorization)\b(\s*[:=]\s*)[^\n]+"
    ),
    re.compile(
        r"(?i)\b([\w-]*(?:secret|password|passwd|token|access_key)[\w-]*)(['\"]?\s*[:=]\s*)['\"]?[^\s,'\"]+"
    ),
)


def without_passwords(text: str) -> str:
    """URLs in it lose their user's name and password."""
    if "://" not in text and "@" in text:
        return "***@" + text.rpartition("@")[2]  # A proxy without a scheme.
    return _PASSWORD.sub("***@", text)


def redacted(text: str) -> str:
    """*text* without secrets; the home directory is ~, and the user's name is USER."""
    text = _PASSWORD.sub("***@", text)
    for pattern in _SECRETS:
        text = pattern.sub(_shown, text)
    home = str(Path("~").expanduser())
    if home not in ("/", "~"):
        text = text.replace(home, "~")
    name = _name()
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "USER", text) if name else text


def _shown(match: re.Match[str]) -> str:
    groups = match.groups()
    if not groups:
        return "***"
    separator = groups[1] if len(groups) > 1 else "="
    return f"{groups[0]}{separator}***"


def _name() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
    return "" if name == "root" else name
