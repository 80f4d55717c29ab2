"""Rebuilds the embedded default model from package registries alone: no photos, no image-text
pairs.
"""
