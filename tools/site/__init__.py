"""The course as static pages: both editions from their stored outputs, and each card by a link of its own."""
