"""``segtrace explain``: the chain of a number, from the table's cell back to the raw files and the archive."""
