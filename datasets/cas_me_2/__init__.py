"""CAS(ME)^2, from the user's own licensed copy."""
