"""Encoded images to pixels, and where the pixels are kept: in memory, mapped from a file of the node, or streamed."""
