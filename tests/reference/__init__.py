"""Twins of what grokflow computes, in NumPy alone: short, obviously right, and slow."""
