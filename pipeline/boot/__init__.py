"""Booting an image in an emulated machine, to see that it comes up as its node.

`machine` starts QEMU, `start` finds out how an image wants to be started, `network` puts the machine where
the node's address is. `guest` speaks with the node, `checks` compares it with what is expected, and `session`
ties these together for one image.
"""
