"""Speed and memory of training: `helpers` beside a plain GPT and beside transformers. Run it with `make bench`."""
