"""Cards: what an image is burned to, found, judged, written and read back.

`cards` has the words and `policy` says which of them may be written; `linux` and `windows` find and open
them. `burn_plan` says which bytes a card must hold, and `engine` makes it so.
"""
