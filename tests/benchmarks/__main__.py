"""`python -m tests.benchmarks`: see the package's docstring and `--help`."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

import platformdirs

from tests.benchmarks.bench import Bench, Outcome
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.goals import goals
from tests.benchmarks.jobs import all_jobs, chosen
from tests.benchmarks.report import document, machine, markdown, summed


def main() -> int:
    options = _parser().parse_args()
    if options.list:
        for job in all_jobs():
            print(f"{('quick', 'default', '')[job.level]:8} {job.name}")
        return 0
    try:
        jobs = chosen(options.job, 0 if options.quick else 1)
    except LookupError as unknown:
        print(f"no job matches {unknown}; --list shows them all", file=sys.stderr)
        return 2
    folder: Path = options.folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would measure each other
        _end_gently()
        named = bool(options.contestant)
        bench = Bench(folder, size=options.size, repeat=options.repeat, say=_say, named=named)
        bench.peers.install()
        wanted = options.contestant or [one.name for one in CONTESTANTS]
        outcome = bench.run(jobs, [one for one in CONTESTANTS if one.name in wanted])
        about = {**machine(bench.peers.versions()), "files": options.size}
    return _report(
        outcome, {**about, "repeated": str(options.repeat)}, options.out or folder / "results"
    )


def _report(outcome: Outcome, about: dict[str, str], out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    text = markdown(outcome, about, goals(summed(outcome.samples)))
    name = time.strftime("%Y%m%d-%H%M%S")
    (out / f"{name}.md").write_text(text)
    (out / f"{name}.json").write_text(document(outcome, about))
    print(f"\n{text}\n\nAlso in {out / name}.md and .json")
    for mismatch in outcome.mismatches:
        print(f"*** {mismatch}", file=sys.stderr)
    return 1 if outcome.mismatches else 130 if outcome.interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--job", action="append", default=[], metavar="PATTERN", help="hdf5/list/*; several times")
    add("--contestant", action="append", choices=[one.name for one in CONTESTANTS])
    add("--repeat", type=int, default=5)
    add("--size", choices=("full", "small"), default="full", help="of the files")
    add("--quick", action="store_true", help="fewer jobs, some minutes")
    add("--list", action="store_true", help="show all jobs, and in which selection they are")
    add("--out", type=Path, help="where the reports go  [FOLDER/results]")
    # Root's own cache is closed to the unprivileged user who takes part when root measures.
    everybodys = os.geteuid() == 0
    cache = platformdirs.site_cache_path if everybodys else platformdirs.user_cache_path
    default = cache("vbofs-bench")
    add(
        "--folder", type=Path, default=default, help="files and peers are kept there  [%(default)s]"
    )
    return parser


def _end_gently() -> None:
    """The first ^C or SIGTERM ends the run and reports; the next must not stop the clearing."""

    def interrupt(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
