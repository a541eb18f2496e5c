"""``segtrace reproduce``: one number made again from raw data in a clean folder, and compared."""
