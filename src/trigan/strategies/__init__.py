"""Recipes of stages: baseline, augment, features, joint."""
