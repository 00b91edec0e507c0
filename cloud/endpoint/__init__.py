"""An external model that may be asked where our own are at a loss."""
