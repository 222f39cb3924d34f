"""What an HDF5 reader will want: pointers found in the metadata that arrives.  Pure.

A reader walks the metadata one pointer at a time, each a round trip.  ``Chase`` reads the same
structures out of the blocks that arrive, in any order and by whomever they were wanted, and names
all that they point to at once, so that the walk becomes a few waves of parallel requests.

It follows what a reader that lists everything touches: superblocks, groups of either style, object
headers, attributes, names and small values; of an array only the root of its chunk index.  Values
wait until a reader is seen to look at everything: ``watching`` tells, from his reads.  Content
is believed in nothing: whatever it claims costs at most the budget of bytes, a bounded number of
structures, and per call work in proportion to the bytes of the call.
"""

from .chase import Chase, ChaseStatistics, is_hdf5

__all__ = ["Chase", "ChaseStatistics", "is_hdf5"]
