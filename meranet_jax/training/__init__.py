"""The train step, the loop over epochs, checkpoints, devices and processes."""
