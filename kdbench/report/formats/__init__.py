"""Report formats, one file each: a format registers its writer in `kdbench.report.FORMATS`."""
