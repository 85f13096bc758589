"""Metrics of a classifier's outputs: accuracy, calibration, and a map of its features."""
