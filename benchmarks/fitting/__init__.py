"""Fitting: how near devices come to their peaks, from published times of networks.

`split` says which networks a fit may not see.
"""
