"""TFDS builders that write data sets as sharded records.

``meranet_jax`` reads these records and does not import this package. This package
imports only ``meranet_jax.cores``, ``errors`` and ``video``.
"""

from meranet_jax.errors import DataError

__all__ = ["DataError"]
