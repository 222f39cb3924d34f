"""What can go wrong with the sample: its packages are missing, or a process of its own failed."""

from __future__ import annotations

from ..errors import ExtraMissing, VbofsError


class DemoUnavailable(ExtraMissing):
    """The sample needs packages that a plain installation does not bring."""

    def __init__(self, missing: str | None) -> None:
        super().__init__(f"{missing} is not installed; pip install 'vbofs[demo]'")


class DemoFailed(VbofsError):
    """A process that makes or serves the sample ended before its work was done."""
