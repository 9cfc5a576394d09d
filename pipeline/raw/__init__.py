"""Raw disk images as files.

`ranges`, `sparse`, `mapped` and `bmap` say which bytes of one matter, `disk` reads and moves its partition
table, `ext` its file system, and `slot` is the place in it that a burn fills in.
"""
