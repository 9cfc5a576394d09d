"""Edits by name: pure functions from the old text of a file to the new one, one file for each format.

A manifest names an edit instead of holding the result, because only the golden knows the rest of the file.
`table` lists them.
"""
