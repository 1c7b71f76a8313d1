"""The configuration's parts: what may stand in it, how it is checked, where values come from."""
