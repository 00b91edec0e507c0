"""`wayword-sim sweep`: the designs compared in a simulated day, with the product's own code under virtual time."""
