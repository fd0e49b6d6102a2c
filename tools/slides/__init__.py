"""The projector edition: a deck of slides for each class of the course, made from stored notebooks and lecture notes."""
