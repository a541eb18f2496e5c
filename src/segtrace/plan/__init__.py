"""What experiments will cost before anything runs: device hours, wall time, memory and disk."""
