"""What papers printed: their tables as experiments have them, and their texts' figures recomputed from these."""
