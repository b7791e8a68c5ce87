"""The features of a network's layers: as the layers return them, and in canonical form.

`extractor` runs a network and returns its features, `probe` runs one on noise, `layouts` defines the forms, and the
`*_evidence` files determine them. `feature_hooks`, in the folder above, sets the hooks. A file may import torch,
`errors` and `feature_hooks`; `distill` and `workflows` import it.
"""
