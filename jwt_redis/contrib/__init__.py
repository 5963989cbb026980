"""Adapters to other packages, each for those who have it: nothing here is imported unless a project asks for it."""
