"""The tables of a recipe, one file each. The recipe (`study`) and its sweeps import them; they import neither."""
