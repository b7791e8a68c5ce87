"""Files on disk: complete or absent, in a folder that one process claims, and suggested where a path is mistyped.

They are read as untrusted input; `cycles` makes reading large ones faster. Imports the standard library, `errors`,
`characters`, `registry` and `processes` only. Bundles for devices contain `archives`, `storage` and `plain_json`.
"""
