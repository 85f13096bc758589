"""Generators, discriminators, classifiers and their layers: plain modules that import torch alone."""
