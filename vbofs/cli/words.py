"""Numbers as people read them."""

from __future__ import annotations


def size(number: int) -> str:
    """Bytes in decimal units, as disks and networks are sold: 1.5 GB."""
    amount = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counted(number: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(text: str) -> str:
    """*text* for a terminal: what a table or a name says must not move the cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
