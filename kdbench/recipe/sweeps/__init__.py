"""Recipes that stand for several: the `[sweep]` table, its points and searches, and entries expanded to several models.

Imports the tables; the recipe itself (`study`) and its reading (`loading`) import it.
"""
