"""The operators' service: what `metis` does and knows, in a browser. It knows nothing beside."""
