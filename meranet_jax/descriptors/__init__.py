"""Hand-crafted features of clips, and the classifiers that are trained on them."""
