"""The front door: gRPC in, envelopes out. Imports no torch, so that its image stays small."""
