"""From files and plain arrays to inputs and labels: layouts, pixels, sizes, normalisation.

The files of `data` import it, and code that brings arrays to a model's size.
"""
