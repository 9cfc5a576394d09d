"""Secrets of nodes: where they are kept, what is made of them, and how a node's missing identity is made.

`source` is the port, with one file for each kind of source, and `places` finds and opens them; what a node's
own and the shared values come to is in `keyring`. `forms` says what a value becomes on a card, `identity`
makes the parts that no operator gives, and `rotate` makes them anew. `status` and `survey` find out what
there is, and `report` says it.
"""
