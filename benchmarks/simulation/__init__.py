"""A model of nights that are larger than any lab, fed with what was measured of small ones."""
