"""A TorchServe over gRPC: one that runs already, or one of the gateway's own that is kept running."""
