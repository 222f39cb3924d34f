"""What the reads of a file say about its reader: does he look at everything, or go to one array?"""

from __future__ import annotations

from ...model import Extent

#: Bytes that the kernel asks for at least.
PAGE = 4 << 10
#: Bytes of a read that is for metadata; arrays are read by more, and with headers that lie between.
GLANCE = 16 << 10
#: Siblings of objects at which somebody has looked, too, who looks at everything.  On the way to
#: one array there is one child of each group; but pages are seen, not headers, and a page may have
#: the headers of several groups: in files of a hundred groups, up to 6 seem to be read like that.
#: A listing is there before it has waited four times.
SIBLINGS = 7
#: Pages remembered in which object headers are.
PAGES = 6144


class Watch:
    """Knows which object headers are children of one group, and counts those that are read."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}  # By the pages in which headers begin.
        self._looked_at: dict[int, set[int]] = {}  # Such pages, by parents.
        self._siblings = 0

    def __repr__(self) -> str:
        return f"<Watch {len(self._parents)} pages, {self._siblings} siblings looked at>"

    def note(self, header: int, parent: int) -> None:
        """What is at *parent* points to the object header at *header*."""
        if len(self._parents) < PAGES:
            self._parents.setdefault(header // PAGE, parent)

    def shows_listing(self, read: Extent) -> bool:
        """Whether, with *read*, somebody has looked at several children of the same groups."""
        page = read.start // PAGE
        if read.size <= GLANCE and page in self._parents:
            looked_at = self._looked_at.setdefault(self._parents[page], set())
            self._siblings += bool(looked_at) and page not in looked_at
            looked_at.add(page)
        return self._siblings >= SIBLINGS


def first_page(read: Extent) -> Extent:
    """What the reader wants of *read*; what is beyond may be a guess of the kernel's."""
    return Extent(read.start, min(read.stop, read.start + PAGE))


def beginning(wanted: Extent) -> Extent:
    """Where somebody reads who wants *wanted*, whose first page may be here already; who reads
    further on has been led there by the kernel."""
    return Extent(wanted.start, min(wanted.stop, wanted.start + 2 * PAGE))


def touch(one: Extent, other: Extent) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)
