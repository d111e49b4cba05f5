"""What the tutorials are made with: their notebooks (for ``minicrnn tutorials``), their style, pictures and samples.

A chapter's notebook imports its drawings from here, so that its cells show the idea and not matplotlib.
"""
