"""The compression methods, one file each, which register themselves: see `kdbench.compress`. Nothing imports them."""
