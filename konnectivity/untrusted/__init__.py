"""Input from peers, files and people: numbers, texts, mappings and file contents, each with a bound.

Each module states its bound, and knows neither the peer nor what a value is used for.
"""
