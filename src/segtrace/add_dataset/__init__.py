"""add-dataset: a folder of the user's own becomes a data set: its layout recognised, its files taken in, its YAML written."""
