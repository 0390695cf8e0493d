"""Input from peers, files and people: numbers, texts, mappings and file contents, each with a bound.

Every value that a peer, a file or a person supplies is read by a module of this package. Each module states its bound.
"""
