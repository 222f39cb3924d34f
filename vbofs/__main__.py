"""``python -m vbofs``."""

from .cli import main

main()
