"""FUSE: the only room that knows pyfuse3."""
