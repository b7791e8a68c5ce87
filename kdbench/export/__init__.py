"""From a trained network to the file that ships, and the proof that both say the same."""
