"""What the reads of a file say about its reader: does he look at everything, or go to one array?"""

from __future__ import annotations

from ...model import Extent
from .pointer import Kind

#: Bytes that the kernel asks for at least.
PAGE = 4 << 10
#: Bytes of a read that is for metadata; arrays are read by more, and with headers that lie between.
GLANCE = 16 << 10
#: Siblings of objects at which somebody has looked, too, who looks at everything.  On the way to
#: one array there is one child of each group; but pages are seen, not headers, and a page may have
#: the headers of several groups: in files of a hundred groups, up to 6 seem to be read like that.
SIBLINGS = 7
#: Of them in pages that nobody need read for anything else; on the way to an array there are up to
#: 2, in files of a hundred to a thousand groups, old and new.  A listing is there when it has
#: waited three times; if it is noticed then, the values that it will want travel behind the
#: structures of the next wait, and not before those of the one after it.
ALONE = 3
#: Pages remembered in which object headers are, and as many in which there is more.
PAGES = 6144
#: What is read to find the children of a group, or with a header: who reads such a page may want
#: that.
LEADING = {
    Kind.TREE,
    Kind.SNOD,
    Kind.HEAP,
    Kind.CHUNKS,
    Kind.OCHK,
    Kind.GCOL,
    Kind.FRHP,
    Kind.FHDB,
    Kind.FHIB,
    Kind.BTHD,
    Kind.BTIN,
}


class Watch:
    """Knows which object headers are children of one group, and counts those that are read."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}  # By the pages in which headers begin.
        self._shared: set[int] = set()  # Pages in which there is more than headers.
        self._looked_at: dict[int, set[int]] = {}  # Pages with headers, by parents.
        self._siblings = self._alone = 0

    def __repr__(self) -> str:
        return f"<Watch {len(self._parents)} pages, {self._siblings} siblings looked at>"

    def note(self, start: int, kind: Kind, parent: int) -> None:
        """What is at *parent* points to a structure of *kind* that begins at *start*."""
        page = start // PAGE
        if kind is Kind.HEADER and len(self._parents) < PAGES:
            self._parents.setdefault(page, parent)
        elif kind in LEADING and len(self._shared) < PAGES:
            self._shared.add(page)

    def shows_listing(self, read: Extent) -> bool:
        """Whether, with *read*, somebody has looked at several children of the same groups."""
        page = read.start // PAGE
        if read.size <= GLANCE and page in self._parents:
            looked_at = self._looked_at.setdefault(self._parents[page], set())
            if looked_at and page not in looked_at:
                self._siblings += 1
                self._alone += page not in self._shared
            looked_at.add(page)
        return self._siblings >= SIBLINGS or self._alone >= ALONE


def first_page(read: Extent) -> Extent:
    """What the reader wants of *read*; what is beyond may be a guess of the kernel's."""
    return Extent(read.start, min(read.stop, read.start + PAGE))


def beginning(wanted: Extent) -> Extent:
    """Where somebody reads who wants *wanted*, whose first page may be here already; who reads
    further on has been led there by the kernel."""
    return Extent(wanted.start, min(wanted.stop, wanted.start + 2 * PAGE))


def touch(one: Extent, other: Extent) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)
