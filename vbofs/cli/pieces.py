"""Files narrowed to some of their arrays, for ``vbofs prefetch --only`` and ``--without``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ..errors import NotInDataset, PrefetchIncomplete, VbofsError
from .meter import meter

if TYPE_CHECKING:
    from ..blocks.arrays import Array
    from ..blocks.prefetch import Want
    from ..daemon import Floors

#: Files whose structure is fetched at once; h5py looks at one at a time.
AT_ONCE = 8


async def narrowed(
    floors: Floors, wants: Sequence[Want], words: Sequence[str], *, excluded: bool
) -> list[Want]:
    """*wants*, of each only the arrays that *words* name, or all but those.

    A file that is no HDF5 has none: it is left out, or wanted whole.  NotInDataset for a word that
    names no array in any of the files.
    """
    from ..blocks.arrays import check_available

    check_available()
    found = await _structures(floors, wants)
    _check_words(words, [array for arrays in found.values() for array in arrays])
    narrow = [_narrow(want, found[want.blob.ident], words, excluded) for want in wants]
    return [want for want in narrow if want is not None]


def _narrow(want: Want, arrays: list[Array], words: Sequence[str], excluded: bool) -> Want | None:
    from ..blocks.arrays import apart_from, chosen
    from ..blocks.prefetch import Want

    named = chosen(arrays, words)
    if excluded:
        extents = apart_from(want.blob.size, named)
        return Want(want.name, want.blob, tuple(extents)) if named else want
    wanted = sorted({extent for array in named for extent in array.extents})
    return Want(want.name, want.blob, tuple(wanted)) if wanted else None


async def _structures(floors: Floors, wants: Sequence[Want]) -> dict[str, list[Array]]:
    """The arrays of each blob, by its ident."""
    found: dict[str, list[Array]] = {}
    errors: list[VbofsError] = []
    slots = trio.Semaphore(AT_ONCE)

    async def one(want: Want) -> None:
        try:
            found[want.blob.ident] = await _arrays(floors, want)
        except VbofsError as error:
            errors.append(PrefetchIncomplete(f"{want.name}: {error}"))
            nursery.cancel_scope.cancel()
        finally:
            slots.release()

    with meter("looking into files", len(wants), unit="files") as shown:
        async with trio.open_nursery() as nursery:
            for want in wants:
                await slots.acquire()
                nursery.start_soon(one, want)
                shown.show(len(found))
    if errors:
        raise errors[0]
    return found


async def _arrays(floors: Floors, want: Want) -> list[Array]:
    from ..blocks.arrays import arrays_in
    from ..blocks.pursuit import Pursuit
    from ..blocks.reader import BlobReader

    pursuit = Pursuit(want.blob, floors.store, floors.fetcher, floors.nursery, {}, remember=False)
    reader = BlobReader(want.blob, floors.store, floors.fetcher, pursuit)
    pursuit.begin()  # While h5py is still in another file.
    try:
        return await arrays_in(reader)
    finally:
        reader.close()


def _check_words(words: Sequence[str], arrays: Sequence[Array]) -> None:
    for word in words:
        if not any(array.is_called(word) for array in arrays):
            names = {part for array in arrays for part in array.name.split("/")}
            close = difflib.get_close_matches(word, sorted(names), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise NotInDataset(f"no array in these files is called {word!r}{hint}")
