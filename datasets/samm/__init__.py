"""SAMM, from the user's own licensed copy."""
