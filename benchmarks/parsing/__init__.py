"""The contenders of :mod:`benchmarks.parse`, and the cases that they meet in."""
