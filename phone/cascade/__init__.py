"""The cascade: whether a sign stays on the phone or goes to the cloud. Pure functions of typed inputs."""
