"""prepare: cases oriented, resampled and normalised into a memory-mappable store."""
