"""What a method costs: parameters and multiply-accumulates, counted; time and memory, measured."""
