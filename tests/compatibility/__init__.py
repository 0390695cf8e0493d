"""Pages of docs/reference that are made from the outcomes of tests/interop and tests/node.

recorder        pytest plugin that records the outcomes of a run, over all its stages
outcomes        the recorded outcomes
page            docs/reference/compatibility.md and scenarios.md
release_record  last run of tests/node with each Kubernetes release
"""
