"""More than one process: the gateway, Ray Serve, and how clients find another replica."""
