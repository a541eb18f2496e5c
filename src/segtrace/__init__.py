"""segtrace: comparison tables of segmentation methods in which every number can be traced and recomputed."""

__version__ = "0.1.0"
