"""Bybit v5's voice: spot, linear, inverse and option, written by hand as documents and recordings
show it."""
