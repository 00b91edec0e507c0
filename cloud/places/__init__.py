"""What signs at a place say, shared between devices that consented."""
