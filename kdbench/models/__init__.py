"""Networks by name. One file per family; each registers its factories in `MODELS`."""
