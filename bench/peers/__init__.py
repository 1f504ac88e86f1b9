"""Scripts that run inside the peers' own environments; they import the peer and nothing of this house."""
