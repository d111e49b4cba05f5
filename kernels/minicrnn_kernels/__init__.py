"""Numba kernels of minicrnn: arrays in, arrays out. They know nothing of the library that calls them."""
