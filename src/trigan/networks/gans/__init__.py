"""Generators and discriminators, and combinations of several."""
