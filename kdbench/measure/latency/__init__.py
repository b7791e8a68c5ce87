"""How long calls take: sessions of models that take turns, and what is concluded from them."""
