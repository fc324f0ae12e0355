"""CAS(ME)^3, from the user's own licensed copy."""
