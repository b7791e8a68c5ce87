"""Judgement on records alone: a run against a target, a run against another, a metric over many runs."""
