"""Sums of clipped per-user gradients, without one gradient per user in memory.

Book-keeping (Bu et al. 2023, arXiv 2210.00038): one backward pass through activations
gives what every layer's gradient is made of; norms follow from that by formula, and
the weight gradients are formed once, already clipped. Here also for an item table that
is used at both ends, which no general engine gets right.

Leaves out: sampling, noise and the optimiser, which are the trainer's.
"""
