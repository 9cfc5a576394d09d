"""The commands of `metis`, one file for each group; `pipeline.cli` puts them together."""
