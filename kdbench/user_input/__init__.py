"""What a user writes: arguments of functions, values of options, TOML files; and explanations of what is wrong.

Imports `errors`, `characters`, `units`, `registry` and `files`; pydantic in `validation`, and in what uses it.
"""
