"""A page on the user's own machine: ``python -m meranet_jax serve``."""
