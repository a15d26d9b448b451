"""Networks blended from two: layer swapping (Pinkney and Adler 2020)."""
