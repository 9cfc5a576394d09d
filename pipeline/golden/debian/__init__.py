"""The `debian:` source: an image made here from Debian packages.

`source` is the adapter, `recipe` says what decides the image and names it by a hash, `packages` asks Debian
for them, `image` makes the disk, and `tools` are the programs that this takes.
"""
