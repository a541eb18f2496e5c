"""Segment the cases of a run and write label maps that lie on the image as published."""
