"""What happened, in a database: when drift came and went, and what was recommended when."""
