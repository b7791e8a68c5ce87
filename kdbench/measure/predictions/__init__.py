"""What models answer: their predictions for images, in other runtimes too, and the batches that an answer depends on.

The passes and the harness import it; it imports the context of passes, and no pass.
"""
