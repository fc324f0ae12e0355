"""Reading of a licensed data set from the user's local copy."""
