"""A second language of the course: catalogues out of the English edition, an edition out of catalogues, and the gate."""
