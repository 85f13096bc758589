"""Classifiers: a body that embeds images and a linear head."""
