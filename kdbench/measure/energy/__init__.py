"""Energy: joules by source, between edges of the sources' counters. No estimate replaces a missing counter."""
