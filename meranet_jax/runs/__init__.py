"""A run: its folder, its folds, its report."""
