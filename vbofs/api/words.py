"""What Python programs say, in the words of the rest: releases and facets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..catalog.query import Query
from ..config import release_name
from ..errors import QueryInvalid


def named(release: str) -> str:
    """``v1.0.1`` or ``1.0.1`` → ``1.0.1``; ``latest`` stays.  QueryInvalid for anything else."""
    try:
        return release_name(release)
    except ValueError as error:
        raise QueryInvalid(f"release: {error}") from error


def facets_of(words: dict[str, Any]) -> dict[str, Any]:
    """Facets as ``Query`` has them, from one value or several of any type."""
    known = set(Query.__dataclass_fields__) - {"where", "table", "names"}
    unknown = words.keys() - known
    if unknown:
        raise QueryInvalid(
            f"{', '.join(sorted(unknown))}: there are {', '.join(sorted(known))}, and where"
        )
    facets: dict[str, Any] = {}
    for name, value in words.items():
        several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        facets[name] = tuple(map(str, several))
    if "depth" in facets:
        ends = sorted(float(end) for end in facets["depth"])
        facets["depth"] = (ends[0], ends[-1])
    return facets
