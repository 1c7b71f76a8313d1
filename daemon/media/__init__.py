"""Pictures and films: what clients sent, what providers made, what a screen can show."""
