"""CAS(ME)^3, part C, from the user's own licensed copy."""
