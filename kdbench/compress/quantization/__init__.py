"""The steps of quantization: ranges of activations, corrections of weights and biases, the noise of each layer.

They work on graphs and on tensors observed in them. Methods import them, and they import no method.
"""
