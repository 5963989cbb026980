"""HTML pages for people: their devices, and "this was not me". They work without JavaScript."""
