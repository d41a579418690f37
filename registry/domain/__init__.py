"""The Registry's rules: plain Python, no gRPC, no protobuf, no SQL."""
