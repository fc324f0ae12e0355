"""Frames, faces and windows: how a recording becomes a clip. It imports no JAX."""
