"""What ``import trigan`` offers: runs, studies, verdicts, data sets and splits from Python."""
