"""Audit log of a server: one record of each dial (`audit_records`), written by a thread of its own (`audit_log`)."""
