"""Speed and accuracy, as ratios within one run: machines are noisy, ratios are less so."""
