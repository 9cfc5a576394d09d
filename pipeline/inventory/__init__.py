"""The declared state of the lab: read, checked and merged into resolved classes and nodes.

`document` gives YAML with positions, `validate` says what is wrong with it, `resolve` merges class chains
and nodes; these are pure. `read` finds the files, `overlay` lists folders of files, and `index` remembers
what each file says so that an unchanged one is not read again.
"""
