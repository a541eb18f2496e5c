"""Metrics of a label map against its reference: counts, surface distances, and one pass for both."""
