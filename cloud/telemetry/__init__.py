"""What phones report of how they fare."""
