"""Representations of clips for recognisers, and augmentation; imports JAX only."""
