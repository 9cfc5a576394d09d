"""The identity that a node already has, read from its old card, its mounted root or the live node."""
