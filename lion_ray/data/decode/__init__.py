"""Decoding of images, and the places where pixels are kept: memory, a mapped file of the node, or nowhere (streamed).

`lion_ray.data.source` decodes datasets with it, and `lion_ray.ticket.prediction` decodes images for prediction.
"""
