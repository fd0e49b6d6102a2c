"""Speed of training and of generation: `helpers` beside a plain GPT and transformers'. Run it with `make bench`."""
