"""The version of the forms, which manifests only name: whoever asks for it has no use for what they need."""

VERSION = 1
"""Counts up when a form would give other bytes than before."""
