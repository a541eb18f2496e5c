"""``segtrace diff``: what changed between two states of the results, and whether it is more than chance."""
