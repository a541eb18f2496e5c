"""report: one self-contained page an experiment, that opens from disk without a network."""
