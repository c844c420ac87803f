"""Many runs of one function over a grid of its arguments, on threads, processes or a cluster."""
