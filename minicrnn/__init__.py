"""minicrnn: a text recogniser written from scratch."""
