"""Classes that `make proto` generates from proto/. Tests compare `konnectivity.wire` with them; programs do not."""
