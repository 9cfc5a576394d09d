"""`metis serve`: the page on which operators build, flash and watch."""
