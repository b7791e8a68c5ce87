"""Reading inputs and labels from files and plain arrays: layouts, pixels, sizes, normalisation.

The files of `data` import it, and code that resizes arrays for a model.
"""
