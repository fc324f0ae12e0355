"""Networks in Flax. This room imports JAX and Flax only."""
