"""A front-end of a version: takes requests, checks, counts and answers them."""
