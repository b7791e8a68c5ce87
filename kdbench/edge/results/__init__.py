"""Results of devices: read as untrusted input, checked, and merged into a record.

`merging` is the entry; `values` and its neighbours check every field. Imports `bundles/` and `device/`.
"""
