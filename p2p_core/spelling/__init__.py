"""How a text encoder's tokenizer spells words: pieces of its vocabulary become tokens that know their word."""
