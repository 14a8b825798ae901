"""Why a peer is not there."""


class PeerUnavailable(Exception):
    """A peer can't be had on this machine; the message says what is missing. Tests skip with it."""
