"""Engines elsewhere: a model's towers behind a service, or on the workers of a fleet."""
