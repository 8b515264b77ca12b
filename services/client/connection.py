"""What both clients take for granted of a connection to a gateway."""

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT = 30.0
# The gateway bounds its answers by a setting of its own; a second bound here could only disagree with it.
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1)]
