"""TFDS builders that write data sets as sharded records.

``meranet_jax`` reads these records and does not import this package. This package
imports only ``meranet_jax.video`` and ``meranet_jax.errors``.
"""

from meranet_jax.errors import DataError

__all__ = ["DataError"]
