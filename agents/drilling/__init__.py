"""Parts of a drill: the cage in which restored data is tried, and the evidence that comes out of it."""
