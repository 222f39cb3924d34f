"""Whole files that are not what their release says: dropped, fetched once more, then refused.

What a reader was given before the last block arrived cannot be taken back; see verifier.py.
"""

from __future__ import annotations

import errno
import re

import pytest

from tests.mount.waiting import eventually
from tests.s3 import Fault

ONCE = "behavior_sessions/once.nwb"
ALWAYS = "behavior_sessions/always.nwb"
UNTRUE = "behavior_sessions/untrue.nwb"
GOOD = "behavior_sessions/good.nwb"
SIZE = 3 << 20


@pytest.fixture
def mounted(at_s3, published):
    """Four files: a bit of one is flipped once, of another always, one's hash is another's."""
    files = dict.fromkeys((ONCE, ALWAYS, UNTRUE, GOOD), SIZE)
    published.release("1.0.0", files)
    pins = {path: published.pin("1.0.0", path) for path in files}
    document = published.document("1.0.0", pins)
    untrue, good = (document["data_files"][n] for n in ("2", "3"))
    assert untrue["url"].endswith(UNTRUE)
    untrue["file_hash"] = good["file_hash"]
    published.manifest("1.0.0", document)
    published.s3.faults += [
        Fault(operation="GET", key=ONCE, times=1, flip_at=77_777),
        Fault(operation="GET", key=ALWAYS, flip_at=77_777),
    ]
    at_s3.expect(r"(always|once|untrue).nwb does not match its release's blake2b")
    at_s3.expect(r"WARNING .*(always|untrue).nwb: its bytes are not those of its release")
    return at_s3.mount()


def _is_judged(mounted, mismatched):
    """Nothing is left to verify, and so many files have failed, all in all."""
    verifier = mounted.status()["verifier"]
    return verifier["pending"] == 0 and verifier["mismatched"] >= mismatched


def test_a_file_that_is_not_what_its_release_says_is_fetched_again_and_then_refused(
    mounted, published, at_s3
):
    folder = mounted / "v1.0.0"
    for path in (ONCE, ALWAYS, UNTRUE, GOOD):
        assert len((folder / path).read_bytes()) == SIZE
    eventually(lambda: _is_judged(mounted, 3), what="the first verdict on three files")
    assert at_s3.log().count("it is dropped, and fetched again") == 3

    # The kernel keeps nothing of them: whoever opens them now gets them as they are fetched now.
    assert (folder / ONCE).read_bytes() == published.truth("1.0.0", ONCE)
    (folder / ALWAYS).read_bytes()
    (folder / UNTRUE).read_bytes()
    eventually(lambda: _is_judged(mounted, 5), what="the second verdict on two of them")
    for path in (ALWAYS, UNTRUE):
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error") as refused:
                (folder / path).read_bytes()
            assert refused.value.errno == errno.EIO
        said = re.findall(rf"ERROR .*{path} does not match.*an error from now on", at_s3.log())
        assert len(said) == 1
    for path in (ONCE, GOOD):
        assert (folder / path).read_bytes() == published.truth("1.0.0", path)
    verifier = eventually(
        lambda: mounted.status()["verifier"]["verified"] == 2 and mounted.status()
    )
    assert verifier["verifier"]["condemned"] == 2
    assert {one.name for one in (folder / "behavior_sessions").iterdir()} == {
        "always.nwb", "good.nwb", "once.nwb", "untrue.nwb",
    }  # fmt: skip

    # Another daemon has not struck it yet, and fetches it: what is condemned here stays so.
    other = at_s3.mount(at=at_s3.home / "other")
    assert len((other / f"v1.0.0/{UNTRUE}").read_bytes()) == SIZE
    with pytest.raises(OSError, match="Input/output error"):
        (folder / UNTRUE).read_bytes()
    # And what was verified here need not be verified there.
    assert (other / f"v1.0.0/{GOOD}").read_bytes() == published.truth("1.0.0", GOOD)
    assert other.status()["verifier"]["verified"] == 0
