"""Reading what users write: arguments of functions, values of options, TOML files; and explaining invalid values.

Imports `errors`, `characters`, `units`, `registry` and `files`; pydantic in `validation`, and in what uses it.
"""
