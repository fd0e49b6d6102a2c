"""The tested code behind the notebooks, in four rooms: gpt, storage, labs, classroom. README.md says what is where."""
