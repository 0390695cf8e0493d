"""Probes of paths: whether the targets behind each agent can be reached, and the reason where they cannot.

probe_classes, path_faults, path_record, probe_schedule, probe_exchanges, first_flight and data_plane are pure.
path_prober owns the timer and the records, probe_setup makes it; probe_attempt is one probe on an agent's tunnel;
probe_tls is its TLS; node_events writes Events about changes.
"""
