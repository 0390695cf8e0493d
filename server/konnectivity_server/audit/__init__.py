"""Audit log of a server: one record per dial (`audit_records`), written by a thread of its own (`audit_log`)."""
