"""The program that reads and is timed: `python -m tests.benchmarks.readers` obeys JSON lines.

It runs as the user who mounted (another user may not look into a FUSE mount), stays for all jobs,
so that no start-up or import is measured, and takes the time itself. It imports nothing of vbofs
and is run by any Python; h5py, pynwb, remfile and fsspec are imported when an operation needs
them, before its clock starts.

An operation is a public function of `content`, `programs` or `hdf5`, called with the fields of the
line; it returns what it read, and a digest is made of that when asked for. With `digest` true,
programs that throw away what they read (dd, fio) are replaced by a reader of the same bytes that
does not.
"""
