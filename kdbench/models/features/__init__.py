"""The features of a network's layers: as the layers return them, and in canonical form.

`tapped` runs a network with taps, `probe` runs one on noise, `layouts` defines the forms, and the `*_evidence` files
determine them. `taps`, in the folder above, sets the hooks. A file may import torch, `errors` and `taps`; `distill` and
`workflows` import it.
"""
