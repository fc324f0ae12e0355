"""CASME II, from the user's own licensed copy."""
