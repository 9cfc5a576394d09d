"""Putting a manifest into an image.

`tree` is the port: one file system of an image. `apply` turns a manifest into removals and one tar stream
for each file system, through that port. `guestfs` and `loop` are the adapters.
"""
