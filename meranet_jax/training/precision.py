"""Precision of the computation: fp32, tf32 or bf16.

Parameters, the statistics of batch normalisation, the loss and the optimiser are
always float32.
"""

import functools

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError

# JAX's names for the precision of float32 matrix products; bfloat16 needs none.
_MATMUL_PRECISION = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": None}


def resolve(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with this device's default precision if it has none.

    The default is bf16 on TPUs and on NVIDIA GPUs that support it (Ampere and later),
    and fp32 otherwise.

    Raises:
      UserError: if this device does not support the configured precision.
    """
    device = jax.local_devices()[0]
    if config.settings.precision == "tf32" and _compute_capability(device) < 8:
        raise UserError(
            f"--precision=tf32 needs an NVIDIA GPU, Ampere or later; this device is "
            f"{device}. Choose fp32 or bf16."
        )
    if config.settings.precision is not None:
        return config
    capable = device.platform == "tpu" or _compute_capability(device) >= 8
    return config.change(precision="bf16" if capable else "fp32")


def _compute_capability(device: jax.Device) -> float:
    """Returns the compute capability of an NVIDIA GPU, and 0 for other devices."""
    try:
        return float(getattr(device, "compute_capability", 0))
    except ValueError:  # a name, on AMD GPUs
        return 0


def with_precision(config: TrainConfig):
    """Decorates a function to trace its matrix products with the run's precision."""
    # XLA's CPU backend computes float32 products in float32 in any case; the precision
    # is for programs that are lowered for accelerators.
    products = _MATMUL_PRECISION[config.settings.precision or "fp32"]

    def decorate(function):
        @functools.wraps(function)
        def decorated(*arguments):
            with jax.default_matmul_precision(products):
                return function(*arguments)

        return decorated

    return decorate
