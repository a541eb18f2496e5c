"""validate: the prepared masks against the raw ones, and the gate that training waits for."""
