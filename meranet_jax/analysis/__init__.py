"""Saliency maps, the paper's experiments, and what networks cost."""
