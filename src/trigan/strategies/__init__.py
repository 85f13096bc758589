"""Strategies, each a sequence of stages: baseline, augment, features, joint."""
