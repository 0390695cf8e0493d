"""What `konnectivity doctor` looks at.

A probe gathers facts, within a deadline; a judge makes results of facts, and is pure.

endpoint, door     probe: a listener with TLS, and what answers behind it
listener           judge: of what `endpoint` found
token              judge: of a service account token
speech             probe and judge: what a frontend's socket speaks, and whether that fits an egress configuration
files              judge: certificates, keys and bundles on disk
servers            judge: what several servers say of their agents
journey            probe and judge: a dial from end to end

Knows no flag of the two programs; `konnectivity.tool.cli.doctor_command` does.
"""
