"""Throwaway deployments, for the demo and the tests."""
