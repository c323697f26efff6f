"""Binance's voice: spot, USD-M and COIN-M, written by hand as documents and recordings show it."""
