"""``segtrace doctor``: what about this machine would give trouble."""
