"""The first renderer of the benchmark: images of a face, warped with a map of depth."""
