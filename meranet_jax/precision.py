"""In which numbers a device computes.

Parameters, the statistics of batch normalisation, the loss and the optimiser are
float32 always.
"""

import dataclasses
import functools

import jax

from meranet_jax.config import TrainConfig

# What JAX calls the precision of float32 products. None: bfloat16 needs none.
_PRODUCTS = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": None}


def resolved(config: TrainConfig) -> TrainConfig:
    """The configuration with a precision, the default one of this device.

    bf16 on a TPU and on NVIDIA GPUs that compute in it (since Ampere), else fp32.
    """
    if config.precision is not None:
        return config
    device = jax.local_devices()[0]
    capable = device.platform == "tpu" or (
        device.platform == "gpu"
        and float(getattr(device, "compute_capability", 0)) >= 8
    )
    return dataclasses.replace(config, precision="bf16" if capable else "fp32")


def applied(config: TrainConfig):
    """A decorator: products in the function's trace have the run's precision."""
    # XLA's CPU backend computes float32 products exactly anyway.
    cpu = jax.default_backend() == "cpu"
    products = None if cpu else _PRODUCTS[config.precision or "fp32"]

    def decorate(function):
        @functools.wraps(function)
        def with_precision(*arguments):
            with jax.default_matmul_precision(products):
                return function(*arguments)

        return with_precision

    return decorate
