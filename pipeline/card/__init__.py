"""Cards: what an image is burned to.

For now a card is a plain file (`file`). Devices, with a policy that keeps wrong disks safe, are not written.
"""
