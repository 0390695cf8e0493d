"""Policy of the server on frontends: who may dial what.

frontend_policy     the rules, and the verdict on one dial (pure)
policy_file         the file of the rules, read again when it changes
"""
