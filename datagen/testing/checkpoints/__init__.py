"""Tiny checkpoints of real architectures with random weights, in the file formats that the real ones are published in.

They are built on the spot, in seconds and without a network, and go through the very code that loads the real ones.
What they say is noise, but it is deterministic and depends on the sound: enough to compare two ways of running them.
"""
