"""Models of our own: how the weights in `shared/models/data` were trained."""
