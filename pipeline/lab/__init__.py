"""The composition root: one inventory with its artifacts, and the adapters that work on them."""
