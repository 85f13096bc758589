"""The study behind ``trigan verdict``: its plan, its trials and its page."""
