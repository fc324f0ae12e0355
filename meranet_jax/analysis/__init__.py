"""Saliency maps, the paper's experiments, and the complexity of networks."""
