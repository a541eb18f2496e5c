"""Trained networks in a smaller form for deployment that gives the same logits."""
