"""Figures of generators: in a run's record, and of generated images from anywhere."""
