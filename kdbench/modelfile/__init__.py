"""What a model file says of itself: its input and output, its weights, its size."""
