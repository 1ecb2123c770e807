"""Analyses: functions of a Program that return plain data. They know operators only by their rules."""
