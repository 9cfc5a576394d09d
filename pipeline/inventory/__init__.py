"""The declared state of the lab: read, checked and merged into resolved classes and nodes.

`document` gives YAML with positions, `renames` puts the present names of keys into it, `validate` says what
is wrong with it, `resolve` merges class chains and nodes; these are pure. `read` finds the files and is the
one way to a document, `overlay` lists folders of files, and `index` remembers what each file says so that an
unchanged one is not read again.
"""
