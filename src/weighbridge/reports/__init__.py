"""Reports: findings turned into what a person or a program reads. They compute nothing."""
