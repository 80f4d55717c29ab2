"""Measurements. Every speed is a ratio within one run on the same cores."""
