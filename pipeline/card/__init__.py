"""Cards: what an image is burned to, found, judged, written and read back.

`cards` has the words and `policy` says which of them may be written. A `platform` finds and opens them: each
is a module of its own, `linux` and `windows`, and `here` says which we run on. `burn_plan` says which bytes a
card must hold, and `engine` makes it so, with `transfer`, through the port `medium`.
"""
