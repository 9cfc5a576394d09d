"""What a build, a burn and an upload do from end to end.

Each step is put together from the adapters that it is given; `lab` says which. `compose` and `ids` say what
is to be made, `receipts` what was.
"""
