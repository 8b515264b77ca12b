"""Models in worker processes of the gateway's own: the default, with nothing else to start."""
