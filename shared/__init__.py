"""What two or more tiers need: messages, wire codec, geometry, model runtimes, packs, clock, errors."""
