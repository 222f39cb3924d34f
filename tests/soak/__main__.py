"""`python -m tests.soak [--minutes 30] [--readers 32] [--seed N]`: exit status 1 on a violation."""

from __future__ import annotations

import argparse
import os
import random
import sys

from tests.soak.soak import FOREIGN, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--readers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    for name in [one for one in os.environ if one.upper().startswith(FOREIGN)]:
        del os.environ[name]
    print(f"soaking for {options.minutes:g} minutes, seed {options.seed} …", flush=True)
    soak = Soak(options.minutes * 60, options.readers, options.seed)
    sound = soak.run()
    print(soak.summary())
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
