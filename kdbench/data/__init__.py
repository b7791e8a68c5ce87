"""Data sets by name. One file per family; each registers its loader in `DATASETS`."""
