"""``segtrace why``: which digest would make a file be made again."""
