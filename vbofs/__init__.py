"""vbofs: a read-only file system over a versioned public S3 dataset.

``vbofs.open`` gives the dataset to Python programs; see ``help(vbofs.open)``.  Importing this costs
nothing: what is asked is imported then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .api import Dataset, open  # noqa: A004  # vbofs.open, as gzip.open is
    from .errors import VbofsError

__all__ = ["Dataset", "VbofsError", "__version__", "open"]

_LAZY = {"Dataset": "api", "open": "api", "VbofsError": "errors"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
