"""Distillation methods by name. One file per method; each registers itself in `METHODS`."""
