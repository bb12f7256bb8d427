"""A shared item vocabulary, built without collecting anybody's interactions.

Silos name what they stock (public catalogues); how often each item was used is summed
by secure aggregation; items used often enough over all silos are admitted.
"""
