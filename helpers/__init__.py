"""Tested code behind the notebooks: each module's first line says what it holds; layers are listed in README.md."""
