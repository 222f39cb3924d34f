"""vbofs: a read-only file system over a versioned public S3 dataset."""

from ._version import __version__

__all__ = ["__version__"]
