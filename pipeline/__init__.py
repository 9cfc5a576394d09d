"""Metis: from a declared inventory of lab nodes to recovery cards.

`errors`, `model` and `secret` hold the words. The rest is read in the order in which a node travels:
`inventory` → `render` → `manifest` → `golden` → `inject` → `card`. `steps` ties these together, `lab` picks
the adapters, `graph` is what doit does with a lab, and `commands` is what people ask of it.
"""
