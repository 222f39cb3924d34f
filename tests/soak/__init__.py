"""A mount under everything at once, for as long as one likes: `python -m tests.soak`.

`origin` is the bucket, `reader` one program that reads and compares, `troubles` what goes wrong,
`watch` what the daemon takes and logs, `ledger` what happened and whether it may have, `soak` runs
them all; `chaos` is the same for eyes: a copy that ends right while everything is being broken.
"""
