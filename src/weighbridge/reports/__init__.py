"""Reports: findings as what a person reads, or as a file. They compute nothing."""
