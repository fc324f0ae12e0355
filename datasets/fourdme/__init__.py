"""4DME, from the user's own licensed copy."""
