"""The gRPC services, thin: check the request against the card, hand items to the scheduler, shape the reply."""
