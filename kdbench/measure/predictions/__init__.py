"""Predictions of models, also in other runtimes, and the batches at which models run and predictions differ.

The passes and the harness import it; it imports the context of passes, and no pass.
"""
