"""Frontends: whatever describes a network, turned into a Program. One file a kind of source."""
