"""How fast and how large training is: `helpers` beside a plain GPT and beside transformers. Run it with `make bench`."""
