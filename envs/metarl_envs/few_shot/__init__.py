"""Regression and classification from few labelled examples."""
