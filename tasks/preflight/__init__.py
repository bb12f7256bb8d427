"""Judging a tiny pass over the silos: would the real run get through, at what cost?"""
