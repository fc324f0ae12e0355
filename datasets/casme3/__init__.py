"""CAS(ME)^3, part A, from the user's own licensed copy."""
