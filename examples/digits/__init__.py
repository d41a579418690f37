"""Six versions of a model for handwritten digits: three good ones, and one of each kind of bad one."""
