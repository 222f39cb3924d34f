"""The bytes of virtual objects: a function of key, version and offset, at memory speed.

One random table of a prime number of 4 KiB pages is repeated for ever, and every 8-byte word of a
page is XORed with a stamp that is a bijection of the page's number, started from a hash of key and
version. So no two pages of an object are equal, not even in part at the same place; a page of
another version or key differs too; and a shift by any number of bytes shows. Nothing here has
state but the table, which is never written.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

PAGE = 4096
_PAGES = 257  # prime: a stride that is a power of two never meets the same page of the table twice
_WORDS = PAGE // 8
STRIDE = _PAGES * PAGE  # the longest run that is made at once; 1 MiB and a page stays in L2

Words = npt.NDArray[np.uint64]

# PCG64's raw stream is frozen by numpy, unlike its distributions. Twice, so that every run of
# _PAGES pages is contiguous whatever page it starts with.
_TABLE: Words = np.tile(np.random.PCG64(870987812).random_raw(_PAGES * _WORDS), 2)
_TABLE = _TABLE.astype("<u8").reshape(2 * _PAGES, _WORDS)


def scratch() -> Words:
    """Room for one call of *fill*; it may be used again once its bytes have been sent."""
    return np.empty((_PAGES + 1, _WORDS), dtype="<u8")


@lru_cache(maxsize=1024)
def seed_of(key: str, version_id: str) -> int:
    """The number that the stamps of one object version start from."""
    digest = blake2b(f"{key}\0{version_id}".encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def fill(room: Words, seed: int, start: int, stop: int) -> memoryview:
    """Make bytes `[start, stop)`, at most STRIDE of them, in *room*; return a view of them."""
    first, last = start // PAGE, -(-stop // PAGE)
    done = 0
    while first + done < last:
        row = (first + done) % _PAGES
        count = min(last - first - done, _PAGES)
        stamps = _stamps(seed, first + done, count)
        np.bitwise_xor(_TABLE[row : row + count], stamps, out=room[done : done + count])
        done += count
    offset = start - first * PAGE
    return memoryview(room.data).cast("B")[offset : offset + stop - start]


def content(key: str, version_id: str, start: int, stop: int) -> bytes:
    """The truth: bytes `[start, stop)` of the virtual object *key* in *version_id*."""
    room, seed = scratch(), seed_of(key, version_id)
    cuts = [*range(start, stop, STRIDE), stop]
    return b"".join(bytes(fill(room, seed, here, there)) for here, there in pairwise(cuts))


def _stamps(seed: int, first: int, count: int) -> Words:
    """One word per page: splitmix64, which maps no two page numbers to one value."""
    pages = np.arange(first, first + count, dtype="<u8")
    word = pages * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (word ^ (word >> np.uint64(31)))[:, None]
