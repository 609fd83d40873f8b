"""Building blocks that know nothing of detection: convolution, norms, losses, weight filling."""
