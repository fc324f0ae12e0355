"""TFDS builders: a data set on disk becomes sharded records.

Nothing here knows of the model or of an experiment; ``meranet_jax`` reads the
records that these builders write and nothing else.
"""

from datasets.errors import DataError

__all__ = ["DataError"]
