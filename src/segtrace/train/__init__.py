"""Train one run: sampling, the loop, resuming after a kill, and the lease of a device."""
