"""Trust: what every output was made from, whether that still holds, and the way back from a number to its bytes."""
