"""Plotting libraries with a browser runtime in their Python package, beside the page's own curve."""
