"""Files on disk: atomic writing, folders that one process claims, and suggestions for mistyped paths.

Files are read as untrusted input; `cycles` makes reading large ones faster. Imports the standard library, `errors`,
`characters`, `registry` and `processes` only. Bundles for devices contain `archives`, `storage` and `plain_json`.
"""
