"""The gRPC service, the Registry as it is called, and messages to and from plain Python."""
