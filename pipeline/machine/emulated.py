"""The processor that QEMU emulates where it cannot use KVM."""

AMD64 = "qemu64,+popcnt,+ssse3,+sse4.1,+sse4.2,+rdrand,+rdseed"
"""What x86-64-v2 asks for, and random numbers to begin with.

QEMU's `max` has all that can be emulated, and a system that finds it uses it: it comes up a seventh later.
"""
