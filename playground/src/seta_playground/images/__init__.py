"""The images that a cluster runs: built here, cached by what they are made of, handed on as tars.

build.ensure() is the only door; cluster code calls it and imports the tars into every node. Nothing here knows
about nodes or clusters.
"""
