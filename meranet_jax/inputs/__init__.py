"""Representations of clips for recognisers, and augmentation.

Modules import JAX only, except for ``optical_flow``, which runs on the host with NumPy,
OpenCV and scikit-image.
"""
