"""Energy: joules by source, between edges of the sources' own counters. No estimate takes a missing counter's place."""
