"""AllenSDK on a mount, by ``make test-allensdk``: not part of ``make test``, for it needs an
environment of its own, with the versions of numpy and pandas that AllenSDK is pinned to."""
