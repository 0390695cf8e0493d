"""Tools for tests and the demo; shipped."""
