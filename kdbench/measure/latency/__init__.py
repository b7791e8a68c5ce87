"""Latency and throughput: sessions of models that take turns, their precision, and warnings about them."""
