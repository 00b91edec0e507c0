"""The cloud: large reading and translation behind gRPC. Keeps no picture after the reply."""
