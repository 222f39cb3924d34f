"""Names: mounting, and listing the 6,000 files of a release."""

from __future__ import annotations

from tests.benchmarks.files import MANY
from tests.benchmarks.jobs import Job
from tests.benchmarks.servers import Link
from tests.benchmarks.trials import Operation, Trial, Where

MOUNT = frozenset({"mount"})
LINKS = (Link(), Link(0.02, 100e6))


def jobs() -> list[Job]:
    made = []
    for link in LINKS:
        level = 1 if link.delay else 2
        limit = 150.0
        made.append(Job(f"mount/{link}", (), _mount, MOUNT, link, level, limit, names=True))
    for link in LINKS:
        level = 2 if link.delay else 1
        made.append(
            Job(f"ls/{link}", (), _List("ls"), link=link, level=level, limit=150, names=True)
        )
        made.append(Job(f"find/{link}", (), _List("find"), link=link, limit=150, names=True))
    return made


def _mount(trial: Trial) -> None:
    trial.time_mount(f"mount {trial.link}, cold")
    trial.umount()
    trial.time_mount(f"mount {trial.link}, warm")


class _List:
    """`ls -l` or `find` of all names, right after mounting and again."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def __call__(self, trial: Trial) -> None:
        trial.mount()
        trial.forget_pages()
        trial.measure(f"{self._tool} {trial.link}, cold", self._ask)
        trial.measure(f"{self._tool} {trial.link}, warm", self._ask)

    def _ask(self, where: Where) -> Operation:
        folders = [str(where.root / folder) for folder in MANY]
        return {"operation": self._tool, "folders": folders, "heavy": True}
