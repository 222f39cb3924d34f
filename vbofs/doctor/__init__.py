"""``vbofs doctor``: what keeps vbofs from working here, and the command that mends it.

One small function per check, each of which looks at one thing and says what it found; none changes
anything.  They run in the order in which a mount would need what they look at.
"""

from .checks import CHECKS, Finding, Patient, Verdict, examine

__all__ = ["CHECKS", "Finding", "Patient", "Verdict", "examine"]
