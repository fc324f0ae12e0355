"""TFDS builders that turn a data set on disk into sharded records.

``meranet_jax`` reads the records that these builders write and imports nothing from
here. This package imports ``meranet_jax.video`` and ``meranet_jax.errors`` only.
"""

from meranet_jax.errors import DataError

__all__ = ["DataError"]
