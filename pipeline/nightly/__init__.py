"""A night: rebuild what is stale, read it back, say what happened, and keep that."""
