"""audit: a look at what a data set holds twice, what contradicts itself, and what lies on two sides of a split."""
