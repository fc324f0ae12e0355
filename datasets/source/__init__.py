"""A licensed copy on disk: its tables, its releases and its expressions."""
