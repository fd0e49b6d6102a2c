"""The course in a second language: catalogues out of the English edition, an edition out of them, and the gate."""
