"""Metis beside peers that do equal work, run in turn on one machine; see README.md."""
