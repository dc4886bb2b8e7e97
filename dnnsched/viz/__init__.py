"""Figures with matplotlib (extra ``viz``); nothing here is imported until a figure is drawn."""
