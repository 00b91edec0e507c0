"""Who calls, whether they may, how often, and how it is counted."""
