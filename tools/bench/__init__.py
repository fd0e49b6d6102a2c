"""Speed and memory of `helpers` beside a plain GPT, one of nanoGPT's shape, and transformers'. Run it: `make bench`."""
