"""The benchmark: vbofs beside its peers, on the same files, in the same run.

`python -m tests.benchmarks` runs it. `files` makes what is read, `servers` serves it, `contestants`
mount it, `readers` is the program that reads and is timed, `jobs*` say what is done in which
order, `bench` does it for everybody in turn, `report` and `goals` say what came of it.
"""
