"""Beside PyTorch, in one run. ``python -m benchmarks`` measures everything."""

import os

# JAX would take three quarters of a GPU for itself, on which PyTorch runs beside it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
