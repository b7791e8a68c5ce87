"""Predictions of models for images, in other runtimes too, and the batches that predictions depend on.

The passes and the harness import it; it imports the context of passes, and no pass.
"""
