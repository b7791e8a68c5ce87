"""Distillation methods by name. One file per method; each registers itself in `METHODS`."""

from kdbench.distill.method import Method
from kdbench.registry import Registry

METHODS: Registry[type[Method]] = Registry("method", package="kdbench.distill.methods", group="kdbench.methods")
