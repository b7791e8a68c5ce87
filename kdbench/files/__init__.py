"""Files on disk: complete or absent, read as untrusted input, and suggested where a path is mistyped.

`cycles` makes reading large ones faster. Imports the standard library, `errors`, `characters`, `registry` and
`processes` only; a device measures with it too, so it runs with Python 3.9.
"""
