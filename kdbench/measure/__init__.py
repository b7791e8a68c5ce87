"""Measuring a model file: accuracy, latency, cost, size and energy. Sees targets, never trainers."""
