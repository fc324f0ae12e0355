"""Decoding of frames, face detection and selection of the frames of a clip.

Both ``datasets`` and prediction use this package. It imports neither JAX nor TFDS.
"""
