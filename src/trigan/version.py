"""The version of the package, and of the protocol that its numbers follow."""

__version__ = "0.3.0"

#: Moves whenever the same config would give other numbers; part of every run and stage hash.
PROTOCOL_VERSION = 5
