"""Python's garbage collector, kept away from what lives as long as the process.

The modules, botocore's model of S3 and the names of a release are some 300,000 objects.  They are
made at the start and never become garbage, but every full collection looks at each of them, for 40
to 50 ms in which nobody is answered: three times while a mount starts, and once more in the first
listing of a file.
"""

from __future__ import annotations

import gc


def put_off() -> None:
    """Collect nothing until ``begin``: all that is made now is there to stay."""
    gc.disable()


def begin() -> None:
    """Collect from now on, but only what is made from now on."""
    gc.freeze()
    gc.enable()
