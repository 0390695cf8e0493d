"""Generated from proto/ by `make proto`. Only `konnectivity.wire` imports it."""
