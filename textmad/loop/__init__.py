"""The recursion itself: the stages of a generation, what they depend on, what filters are given."""
