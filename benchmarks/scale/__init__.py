"""How far one driver carries: what it takes a slide, a made-up cluster, a report of thousands."""
