"""A model that anyone may use: what it is trained on, and how."""
