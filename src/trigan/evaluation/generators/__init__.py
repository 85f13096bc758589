"""Figures of a generator: distances of distributions, manifolds, memorisation, in an embedding of images."""
