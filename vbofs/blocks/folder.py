"""The cache directory itself: made, or found to be ours, of a format that we know, and writable."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from ..errors import CacheFull, CacheTooNew, CacheUnwritable
from .blobmap import FORMAT


def prepare(blobs: Path) -> None:
    """Make the cache's directories, or see that those that are there are ours.

    OSError, CacheUnwritable or CacheTooNew.
    """
    cache_dir = blobs.parent
    cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_owner(cache_dir)
    _check_format(cache_dir)
    blobs.mkdir(exist_ok=True, mode=0o700)
    _check_owner(blobs)


def refusal(cache_dir: Path, error: OSError) -> CacheFull | CacheUnwritable:
    """What *error*, met while preparing *cache_dir*, means to its user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFull(
            f"no space left for the cache in {cache_dir}; make room, or use --cache-dir"
        )
    return CacheUnwritable(
        f"the cache directory {cache_dir} cannot be used: {error.strerror}; use --cache-dir"
    )


def _check_owner(folder: Path) -> None:
    """Nobody else may plant a block: its checksum, too, would be theirs."""
    facts = folder.stat()
    if facts.st_uid != os.geteuid():
        raise CacheUnwritable(f"{folder} belongs to another user; use --cache-dir")
    if facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        raise CacheUnwritable(f"{folder} can be written by everybody; chmod o-w {folder}")


def _check_format(cache_dir: Path) -> None:
    """A file that says which layout this is; a layout from the future is left alone."""
    path = cache_dir / "format"
    try:
        words = path.read_text().split()
    except FileNotFoundError:
        # Whole or not at all: another daemon may be starting too.
        draft = path.with_name(f".format.{os.getpid()}")
        draft.write_text(f"vbofs {FORMAT}\n")
        os.replace(draft, path)
        return
    except UnicodeDecodeError:
        words = []
    if len(words) != 2 or words[0] != "vbofs" or not words[1].isdecimal():
        raise CacheUnwritable(
            f"{path} is damaged, or {cache_dir} is no cache of vbofs; remove it, or use --cache-dir"
        )
    if int(words[1]) > FORMAT:
        raise CacheTooNew(
            f"the cache {cache_dir} was made by a newer vbofs (format {words[1]}, this one knows"
            f" {FORMAT}); upgrade vbofs, or use --cache-dir"
        )


def check_writable(folder: Path) -> None:
    """OSError if nothing can be written in *folder*."""
    with tempfile.TemporaryFile(dir=folder, prefix=".probe.") as probe:
        probe.write(b"\0" * 4096)
