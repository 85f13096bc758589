"""Data: sources, splits, regimes, batch streams, augmentation and checks (see docs/architecture.md).

One way in: ``source = Digits().load(cache)``, then ``draw_split(source, regime, trial)`` gives a view to train on, a
sealed test set, and the split's information for the record.
"""
