"""The rounds of `konnectivity doctor`: which checks the options of a program call for.

The checks themselves are `konnectivity.tool.doctor`'s.
"""
