"""In which numbers a device computes.

Parameters, the statistics of batch normalisation, the loss and the optimiser are
float32 always.
"""

import functools

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError

# What JAX calls the precision of float32 products. None: bfloat16 needs none.
_PRODUCTS = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": None}


def resolved(config: TrainConfig) -> TrainConfig:
    """The configuration with a precision, the default one of this device.

    bf16 on a TPU and on NVIDIA GPUs that compute in it (since Ampere), else fp32.

    Raises:
      UserError: if it is one that this device lacks.
    """
    device = jax.local_devices()[0]
    if config.settings.precision == "tf32" and _compute_capability(device) < 8:
        raise UserError(
            f"--precision=tf32 is for NVIDIA GPUs since Ampere, not {device}. Choose "
            "fp32 or bf16."
        )
    if config.settings.precision is not None:
        return config
    capable = device.platform == "tpu" or _compute_capability(device) >= 8
    return config.change(precision="bf16" if capable else "fp32")


def _compute_capability(device: jax.Device) -> float:
    """Of an NVIDIA GPU; 0 of others."""
    try:
        return float(getattr(device, "compute_capability", 0))
    except ValueError:  # AMD's are names
        return 0


def applied(config: TrainConfig):
    """A decorator: products in the function's trace have the run's precision."""
    # XLA's CPU backend computes float32 products exactly anyway.
    cpu = jax.default_backend() == "cpu"
    products = None if cpu else _PRODUCTS[config.settings.precision or "fp32"]

    def decorate(function):
        @functools.wraps(function)
        def with_precision(*arguments):
            with jax.default_matmul_precision(products):
                return function(*arguments)

        return with_precision

    return decorate
