"""One operating system, one file: what Metis knows of it, as data. `table` lists them all."""
