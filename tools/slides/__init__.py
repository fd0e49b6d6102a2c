"""The projector edition: a deck of slides for each class, made from the stored notebooks and the lecture notes."""
