"""Why a model says what it says of a tile, and of a slide."""
