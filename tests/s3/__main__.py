"""`python -m tests.s3`: the programmable S3 as a process; see `process` for how to speak to it."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.s3.process import serve
from tests.s3.server import ProgrammableS3


def main() -> None:
    options = _parser().parse_args()
    # the default action ends at once and quietly, which is what a test that kills it wants
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    s3 = ProgrammableS3(
        port=options.port,
        delay=options.delay,
        handshake=options.handshake,
        rate=options.rate,
        total_rate=options.total_rate,
    )
    if options.catalogue:
        s3.load_catalogue(
            options.catalogue, scale=options.scale, exact=options.exact, tables=options.tables
        )
    with s3:
        try:
            serve(s3, sys.stdin, sys.stdout)
            if options.forever:
                signal.pause()
        except KeyboardInterrupt:
            pass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.s3", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--catalogue", help="a folder of *.urls.txt.gz")
    parser.add_argument("--scale", type=float, default=1, help="of the sizes of NWB files")
    parser.add_argument("--exact", action="store_true", help="true hashes and ETags; reads all")
    parser.add_argument("--tables", help="a folder of CSV files that become the tables")
    parser.add_argument("--delay", type=float, default=0, help="seconds before each answer")
    parser.add_argument("--handshake", type=float, default=0, help="seconds to connect")
    parser.add_argument("--rate", type=float, help="bytes a second on each connection")
    parser.add_argument("--total-rate", type=float, help="bytes a second on all of them")
    parser.add_argument("--forever", action="store_true", help="outlive stdin")
    return parser


if __name__ == "__main__":
    main()
