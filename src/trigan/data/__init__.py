"""Data: sources, splits, regimes, batch streams, augmentation and checks (see docs/architecture.md).

One way in: ``source = Digits().load(cache)``, then ``draw(source, regime, trial)`` gives a view to train on, a sealed
test set, and the facts of the split for the record.
"""
