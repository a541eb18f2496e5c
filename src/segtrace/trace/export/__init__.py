"""``segtrace export``: a finished experiment as a Workflow Run RO-Crate."""
