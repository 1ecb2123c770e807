"""Truth: what the project predicts of memory, beside what was measured here, derived in papers and published elsewhere."""
