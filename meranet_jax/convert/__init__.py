"""Weights from and to files of other programs; ``python -m meranet_jax.convert``."""
