"""Predictions -> metrics, comparisons and figures. It knows no network."""
