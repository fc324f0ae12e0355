"""Comparisons with PyTorch. ``python -m benchmarks`` measures everything."""

import os

# By default, JAX reserves three quarters of the memory of a GPU, which PyTorch also
# needs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
