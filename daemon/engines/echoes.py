"""How a secret may come back: providers and gateways like to quote what they refuse."""

from urllib.parse import quote

PART_CHARS_MIN = 12
"""Of the parts between a key's dots, such as the secret half of `<id>.<secret>`."""


def spellings(secret: str) -> frozenset[str]:
    """`secret` as an echo may have it: whole, without a header's scheme, in part, percent-encoded.

    >>> sorted(spellings("Basic YTpi/w=="))
    ['Basic YTpi/w==', 'Basic%20YTpi%2Fw%3D%3D', 'YTpi%2Fw%3D%3D', 'YTpi/w==']
    """
    bare = secret.partition(" ")[2] or secret
    parts = (one for one in bare.split(".") if len(one) >= PART_CHARS_MIN)
    whole = {secret, bare, *parts}
    return frozenset(whole | {quote(one, safe="") for one in whole})
