"""Policies and traffic plans: their records, their defaults, what makes one wrong, and their messages.

The Registry refuses what the Evaluator could not judge by, so both ask here.
"""
