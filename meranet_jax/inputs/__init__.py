"""What a recogniser sees of a clip, and augmentation. This room imports JAX only."""
