"""The `konnectivity` tool: commands (`cli`), and what they make and check.

`pki`, `egress` and `manifests` make files; `doctor` checks running programs; `top` shows them. The server and the agent
import nothing from this package while they run.
"""
