"""The REST twin of reading and translating."""
