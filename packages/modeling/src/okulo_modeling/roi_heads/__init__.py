"""What looks at proposals: sampling, pooled features, class and box of each region."""
