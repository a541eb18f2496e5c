"""Train one run: sampling, the loop, resuming after a kill, and the lease of a device."""

import os

# OpenMP's threads wait for each other by spinning; where other jobs use the same cores, a training then
# takes many times as long. Spin for some ten microseconds, then sleep. Read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
