"""trigan: does a GAN help my classifier, on my data, with my label budget, and which way of using it is best?"""

__version__ = "0.1.0"

#: Moves whenever the same config would give other numbers; part of every run and stage hash.
PROTOCOL_VERSION = 4
