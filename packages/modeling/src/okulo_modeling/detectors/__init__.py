"""Whole models: samples in, losses or predictions out."""
