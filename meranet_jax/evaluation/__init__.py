"""Evaluation of predictions: metrics, comparisons and figures, for any recogniser."""
