"""Selection of the checks of `konnectivity doctor` that a program's options call for.

The checks are in `konnectivity.tool.doctor`.
"""
