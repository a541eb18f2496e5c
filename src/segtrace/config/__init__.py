"""Configuration: typed (``models``), read with readable errors (``load``), resolved into runs (``runs``)."""
