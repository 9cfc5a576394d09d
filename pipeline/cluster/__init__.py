"""The cluster that a node comes back into: what stands in its way, and what only its API can set."""
