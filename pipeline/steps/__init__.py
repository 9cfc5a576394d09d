"""What a build, a burn and an upload do from end to end.

Each step is put together from the adapters that it is given; `pipeline.lab` says which. `compose` and `ids`
say what is to be made, `build` makes it, `receipts` says what was made, and `artifacts` where it lies.
`verify` reads it back. `burn` brings what is `burnable` to the cards that `choosing` finds; `mounted` fills a
card that is there already. `capture` reads an identity for `adoption`; `node_artifact` is an image on its way
to a registry and back, `publish` a golden on its way there.
"""
