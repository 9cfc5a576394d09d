"""Facts of live nodes: snapshots are read, summarised by class and compared with the inventory.

Who reads them on the node is `metis_sentinel`; what is remembered from one look to the next, `history`.
"""
