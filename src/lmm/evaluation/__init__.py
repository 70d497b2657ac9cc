"""Forecasters scored on clips that they never saw: protocols, intervals, reports (`lmm eval`)."""
