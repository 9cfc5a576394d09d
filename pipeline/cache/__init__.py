"""The content-addressed cache: its store, what is in it, and what may go."""
