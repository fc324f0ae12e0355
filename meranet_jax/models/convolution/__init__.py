"""3-D convolution and its gradients, and the forms in which a CPU computes them."""
