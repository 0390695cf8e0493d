"""The `konnectivity` tool: one module per command."""
