"""Applications that Tocsin watches: read them to see what is asked of yours."""
