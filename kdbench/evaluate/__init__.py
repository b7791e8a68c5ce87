"""What logits tell beyond accuracy: pure functions, one analysis a file, and what the harness makes of them."""
