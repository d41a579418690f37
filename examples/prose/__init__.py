"""A text classifier: is a line prose or code?"""
