"""index: one row a case with its bytes, geometry and masks, and the gate over the raw data set."""
