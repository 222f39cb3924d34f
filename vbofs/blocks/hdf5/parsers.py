"""All parsers in one table: the bytes of any structure in, what it points to out."""

from __future__ import annotations

from collections.abc import Collection

from .dense import direct_block, fractal_heap, index_header, index_node, indirect_block
from .groups import chunks, local_heap, superblock, symbol_node, tree_node
from .headers import continued_chunk, continued_messages, object_header
from .messages import collection, heap_values
from .pointer import MISTAKES, Kind, Parser, Pointer

PARSERS: dict[Kind, Parser] = {
    Kind.SUPERBLOCK: superblock,
    Kind.HEADER: object_header,
    Kind.MESSAGES: continued_messages,
    Kind.OCHK: continued_chunk,
    Kind.TREE: tree_node,
    Kind.CHUNKS: chunks,
    Kind.SNOD: symbol_node,
    Kind.HEAP: local_heap,
    Kind.VLEN: heap_values,
    Kind.REGION: heap_values,
    Kind.GCOL: collection,
    Kind.FRHP: fractal_heap,
    Kind.FHDB: direct_block,
    Kind.FHIB: indirect_block,
    Kind.BTHD: index_header,
    Kind.BTIN: index_node,
}


def pointers_in(content: bytes, pointer: Pointer) -> Collection[Pointer]:
    """What the structure at *pointer* points to; nothing if it is not what it was said to be."""
    try:
        return list(PARSERS[pointer.kind](content, pointer))
    except MISTAKES:
        return ()
