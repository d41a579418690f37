"""The formulas once more, by themselves: pure Python (but `crossing`, whose grid is NumPy's), nothing of the product's.

What is computed here is compared with the product's ln E, of every look of random rollouts. No public package can take
this part: confseq 0.0.11 has mixtures for one sample's mean, savvi 0.3.1 one Dirichlet mixture over which arm the
successes come from, for arms of equal rates and known shares. Neither has these bets or a margin, so that their values
differ by design.
"""
