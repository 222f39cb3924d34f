"""The bucket of a soak: a process that publishes a folder of truths, release by release.

`python -m tests.soak.origin FOLDER` publishes `FOLDER/v<release>/<path>` and then obeys as
`tests.s3.process` does. One command more: `harvest` tells which faults fired, and forgets the log.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.mount.published import Published
from tests.s3 import ProgrammableS3, S3Process, Version
from tests.s3.process import obey

ROOT = Path(__file__).resolve().parents[2]


class Origin(S3Process):
    """The process, for as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.origin", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.url = self._line()
        self._lock = threading.Lock()

    def command(self, command: str, **words: Any) -> Any:
        """As ``S3Process.command``, from any thread."""
        with self._lock:
            return super().command(command, **words)


def publish(published: Published, folder: Path) -> None:
    """Every release of *folder*; files that are one file there are one version here."""
    put: dict[Path, Version] = {}
    for root in sorted(folder.glob("v*")):
        release = root.name.removeprefix("v")
        paths = {str(p.relative_to(root)): p.resolve() for p in root.rglob("*") if p.is_file()}
        files = {path: put.get(local) or local.read_bytes() for path, local in paths.items()}
        published.release(release, files)
        put |= {local: published.pin(release, path) for path, local in paths.items()}


def _harvest(s3: ProgrammableS3) -> dict[str, Any]:
    requests = s3.requests
    s3.clear_log()
    return {
        "fired": Counter(one.fault for one in requests if one.fault),
        "requests": len(requests),
        "sent": sum(one.sent for one in requests),
    }


def main() -> None:
    with ProgrammableS3() as s3:
        publish(Published(s3), Path(sys.argv[1]))
        print(s3.url, flush=True)
        for line in sys.stdin:
            words = json.loads(line)
            try:
                done = _harvest(s3) if words["command"] == "harvest" else obey(s3, **words)
                reply = {"ok": done}
            except Exception as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
