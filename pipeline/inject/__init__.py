"""Putting a manifest into an image.

`tree` is the port: one file system of an image. `apply` turns a manifest into removals and one tar stream
for each file system, through that port; `compare` reads them back. `partitions` says which file system is
which. `guestfs` (an appliance), `loop` (mounts), `direct` (neither) and `directory` (folders that are mounted
already) are the adapters; what mounted file systems have in common is in `folder`. `rehearsal` takes changes
for any of them, and makes none.
"""
