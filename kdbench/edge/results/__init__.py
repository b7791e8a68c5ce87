"""The way back: a device's result, read as untrusted input, becomes numbers of a record.

`merging` is the entry; `values` and its neighbours check every field. Imports `bundles/` and `device/`.
"""
