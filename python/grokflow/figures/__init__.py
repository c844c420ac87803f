"""Figures of a trajectory, drawn with matplotlib."""
