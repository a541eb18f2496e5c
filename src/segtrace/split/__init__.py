"""split: cases to folds and roles, and the check that nothing lies on two sides."""
