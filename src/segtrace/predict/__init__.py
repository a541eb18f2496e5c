"""Segment the cases of a run and write label maps that lie on the image as published."""

import os

# As in training: OpenMP's threads sleep rather than spin where other jobs use the same cores. Read when
# torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
