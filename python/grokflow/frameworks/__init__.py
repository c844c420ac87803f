"""Models of PyTorch and JAX as problems; neither is imported before it is asked for."""
